"""The kinds of errors: a user's mistake is a ``UserError``; every other exception is a bug."""


class UserError(ValueError):
    """A mistake that the caller can correct. Its text is one sentence: what was given, what is allowed, what to do."""


class SettingError(UserError):
    """A setting with a value that is not allowed.

    name: the setting. part: kind and name of what it belongs to, as ("upsample", "nearest"); None: a command.
    """

    def __init__(self, message: str, *, name: str, part: tuple[str, str] | None = None) -> None:
        super().__init__(message)
        self.name, self.part = name, part
