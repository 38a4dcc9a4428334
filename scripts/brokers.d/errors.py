"""What is said to the user when something cannot be done?"""


class Failure(Exception):
    """A sentence, and lines below it that say more or name the remedy."""

    def __init__(self, sentence, *lines):
        super().__init__("\n       ".join([sentence, *lines]))
