loads = 0


def greeting():
    return "hello"
