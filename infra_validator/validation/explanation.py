"""What a server's log may say about a failure. The end that was seen decides: a line explains only what it can have caused."""

from __future__ import annotations

from infra_validator.core.reason_codes import ReasonCode

_EXITED = ReasonCode.SERVER_EXITED
_KILLED = ReasonCode.SERVER_KILLED
_WAITING = (ReasonCode.LOAD_TIMEOUT, ReasonCode.MODEL_UNAVAILABLE, ReasonCode.SERVER_UNHEALTHY)

#: What the log names -> the ends that it can have caused, while the server did not have the model yet.
_BEFORE_IT_HAD_THE_MODEL: dict[ReasonCode, tuple[ReasonCode, ...]] = {
    ReasonCode.PORT_NOT_AVAILABLE: (_EXITED,),
    ReasonCode.BAD_SPEC: (_EXITED,),
    ReasonCode.MODEL_NOT_READABLE: (_EXITED, *_WAITING),
    ReasonCode.MODEL_LOAD_FAILED: (_EXITED, _KILLED, *_WAITING),
    ReasonCode.OP_NOT_REGISTERED: (_EXITED, _KILLED, *_WAITING),
    ReasonCode.OP_NOT_IN_STAND_IN: (_EXITED, _KILLED, *_WAITING),
    ReasonCode.WARMUP_FAILED: (_EXITED, _KILLED, *_WAITING),
    ReasonCode.SERVER_OUT_OF_MEMORY: (_EXITED, _KILLED, *_WAITING),
    ReasonCode.SERVER_BROKEN: (_EXITED, *_WAITING),
}

#: The same once it had the model: its port was its own, its arguments were understood, and the load had succeeded.
_AFTERWARDS: dict[ReasonCode, tuple[ReasonCode, ...]] = {
    ReasonCode.SERVER_OUT_OF_MEMORY: (_EXITED, _KILLED),
    ReasonCode.OP_NOT_REGISTERED: (_EXITED, _KILLED),
    ReasonCode.OP_NOT_IN_STAND_IN: (_EXITED, _KILLED),
}

#: Failures behind which the server's own log may name a deeper cause.
MAY_HAVE_A_DEEPER_CAUSE = frozenset((_EXITED, _KILLED, *_WAITING))


def can_have_caused(named: ReasonCode, end: ReasonCode, loaded: bool) -> bool:
    """Whether what the log names can be why it ended so.

    Args:
      named: the reason that the log names.
      end: the failure that was seen.
      loaded: whether the server had said that it has the model.
    """
    return end in (_AFTERWARDS if loaded else _BEFORE_IT_HAD_THE_MODEL).get(named, ())
