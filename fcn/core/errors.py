"""The kinds of errors: a user's mistake is a ``UserError``; every other exception is a bug."""


class UserError(ValueError):
    """A mistake that the caller can correct. Its text is one sentence: what was given, what is allowed, what to do."""


class Refusal(UserError):  # noqa: N818
    """A network with which something cannot be done.

    layer: path of the layer that stands in the way; "" if it is not one layer. operation: what the layer does there. reason: why not.
    """

    def __init__(self, message: str, *, layer: str = "", operation: str = "", reason: str = "") -> None:
        super().__init__(message)
        self.layer, self.operation, self.reason = layer, operation, reason or message


class NotStreamable(Refusal):
    """A network, an image size and a memory for which ``strategy="stream"`` is not possible."""


class NotConvertible(Refusal):
    """A classifier that ``convolutionalize`` cannot convert."""


class NotDilatable(Refusal):
    """A network that ``dilate`` cannot give the wanted output stride."""


class SettingError(UserError):
    """A setting with a value that is not allowed.

    name: the setting. part: kind and name of what it belongs to, as ("upsample", "nearest"); None: a command.
    """

    def __init__(self, message: str, *, name: str, part: tuple[str, str] | None = None) -> None:
        super().__init__(message)
        self.name, self.part = name, part
