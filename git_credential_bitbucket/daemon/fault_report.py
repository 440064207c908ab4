"""How a fault of ours is told without telling a secret. Imports nothing."""


def kind_and_place(exc: Exception) -> str:
    """The kind of a fault and where it was raised: never its text, which may repeat what was sent."""
    trace = exc.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace is not None else "?"
    return f"{type(exc).__name__} at {place}"
