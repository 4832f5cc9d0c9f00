"""What is wrong with how the page is to be served."""


class AccessError(ValueError):
    """The page cannot be served as it is asked for; its text is the sentence that says why."""
