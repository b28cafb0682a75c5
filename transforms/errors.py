"""What a run raises on purpose: its text is one readable line for the person who must act."""


class RunFailed(Exception):
    """The run cannot be completed; nothing was merged, and repeating it is safe."""
