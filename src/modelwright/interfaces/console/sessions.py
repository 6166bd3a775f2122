"""Browser sessions: a random id in a cookie, everything else here in memory; a restart asks for the token again."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

LIFETIME_SECONDS = 8 * 3600
MAX_SESSIONS = 1000
COOKIE = "modelwright_session"


@dataclass(frozen=True, slots=True)
class Session:
    """``token`` is asked anew at every request, so revoking it ends the session; ``form_token`` stands in each form."""

    token: str
    form_token: str
    expires_at: float


class Sessions:
    """Open sessions by id. Thread-safe.

    Args:
        now: seconds of a clock that never goes back.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now, self._sessions, self._lock = now, dict[str, Session](), threading.Lock()

    def open(self, token: str) -> str:
        """Start a session and return its id; the oldest makes room beyond :data:`MAX_SESSIONS`."""
        session_id, now = secrets.token_urlsafe(32), self._now()
        with self._lock:
            self._sessions = {key: kept for key, kept in self._sessions.items() if kept.expires_at > now}
            while len(self._sessions) >= MAX_SESSIONS:
                self._sessions.pop(next(iter(self._sessions)))
            self._sessions[session_id] = Session(token, secrets.token_urlsafe(32), now + LIFETIME_SECONDS)
        return session_id

    def get(self, session_id: str) -> Session | None:
        """The live session of that id."""
        with self._lock:
            session = self._sessions.get(session_id)
        return session if session is not None and session.expires_at > self._now() else None

    def close(self, session_id: str) -> None:
        """Forget it."""
        with self._lock:
            self._sessions.pop(session_id, None)
