"""Why the embedded model cannot be used, as a sentence for the person who runs the tool."""


class EmbeddedModelError(Exception):
    """The embedded model cannot be used here; the message is one plain sentence."""
