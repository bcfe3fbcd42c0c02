"""Text that others wrote, made fit for a terminal and for a log. Pure."""


def printable(text: str, keep: str = "") -> str:
    r"""The text with every character that a terminal might obey, or that nobody sees, as `\x1b`.

    That is all but letters, marks, digits, signs and the plain space: control characters (C0, C1,
    line ends), overrides of the direction of writing, separators, private and unassigned ones.
    keep: characters to leave as they are. Text that went through here comes out the same again.
    """
    return "".join(c if c.isprintable() or c in keep else ascii(c)[1:-1] for c in text)
