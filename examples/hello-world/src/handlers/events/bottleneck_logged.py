# Parameters that a handler doesn't need may be left out.
def bottleneck_logged() -> None:
    print("A bottleneck was logged")
