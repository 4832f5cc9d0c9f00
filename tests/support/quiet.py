"""The user of a deployment: says yes to each question, and prints nothing."""


class Quiet:
    """`said` is what the user was told; `at_step` is called at each step of the progress."""

    def __init__(self, at_step=lambda name, done: None):
        self.said = []
        self._at_step = at_step

    def say(self, text):
        self.said.append(text)

    def step(self, name, done, total):
        assert done >= 0
        self._at_step(name, done)

    def confirm(self, question):
        return True
