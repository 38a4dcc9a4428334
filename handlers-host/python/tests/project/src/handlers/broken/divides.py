def deep():
    return 1 / 0


deep()
