"""Which image is run: a mutable tag becomes an immutable digest, and the image is pulled where it must be."""

from __future__ import annotations

import contextlib
import dataclasses
import threading
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from infra_validator.core.deadline import SYSTEM_CLOCK, Deadline, News, wait_until
from infra_validator.core.errors import DeadlineExceeded, InfrastructureError
from infra_validator.core.reason_codes import ReasonCode
from infra_validator.model_server_runners.local_docker.errors import refusal
from infra_validator.model_server_runners.shaped import shaped

_IMAGE = {"Id": str, "RepoDigests": [str]}
_ASK_REGISTRY_SECONDS = 15.0  # where a local image would do, a registry that does not answer may not cost more
_TELL_EVERY = 2.0  # seconds between two lines of progress


class _Stream(Protocol):
    def __iter__(self) -> Iterator[dict[str, Any]]: ...
    def close(self) -> None: ...


class ImageStore(Protocol):
    """What is asked of a daemon here; daemon.DockerDaemon answers."""

    def image(self, reference: str, deadline: Deadline) -> dict[str, Any] | None: ...
    def registry_digest(self, reference: str, deadline: Deadline) -> str: ...
    def pull(self, reference: str, deadline: Deadline) -> _Stream: ...


@dataclasses.dataclass(frozen=True)
class Image:
    """What is run.

    Attributes:
      asked: as the spec says it, e.g. ``tensorflow/serving:latest``.
      digest: ``sha256:...``: the registry's digest, or the local image's id where it came from no registry.
      reference: the name that the daemon gets; it names exactly one image for good.
      source: ``registry``, ``local copy`` or ``local build``.
    """

    asked: str
    digest: str
    reference: str
    source: str


def resolve(asked: str, policy: str, store: ImageStore, deadline: Deadline) -> Image:
    """Turn what the spec asks for into something immutable, without pulling.

    Args:
      asked: ``name:tag``, ``name@sha256:...`` or ``name:tag@sha256:...``; a digest may also be the id of a local image.
      policy: ``pull_policy`` of the spec.

    Raises:
      InfrastructureError: there is no such image, or nobody can say.
    """
    name, _, digest = asked.partition("@")
    if digest:
        return _resolve_digest(asked, f"{repository(name)}@{digest}", digest, policy, store, deadline)
    local = store.image(asked, deadline)
    known = _repo_digest(local, repository(name)) if local else ""
    if policy == "never" and local is None:
        raise _not_here(asked)
    if local is not None and (policy in ("never", "missing") or (policy == "auto" and not known)):
        return _local(asked, local, known)
    try:
        limit = deadline if local is None else deadline.capped(_ASK_REGISTRY_SECONDS)
        digest = store.registry_digest(asked, limit)
    except InfrastructureError:
        if local is None or policy == "always":
            raise
        return _local(asked, local, known)
    return Image(asked, digest, f"{repository(name)}@{digest}", "registry")


def _resolve_digest(
    asked: str, reference: str, digest: str, policy: str, store: ImageStore, deadline: Deadline
) -> Image:
    """A digest is immutable already; the question is whether it is a registry's or the id of an image of this daemon."""
    if store.image(reference, deadline) is not None:
        return Image(asked, digest, reference, "local copy")
    local = store.image(digest, deadline)
    if local is not None and local.get("Id") == digest:
        return Image(asked, digest, digest, "local build")
    if policy == "never":
        raise _not_here(asked)
    return Image(asked, digest, reference, "registry")


def repository(name: str) -> str:
    """The image's name without its tag: ``localhost:5000/a:1`` is ``localhost:5000/a``."""
    head, separator, tag = name.rpartition(":")
    return head if separator and "/" not in tag else name


def pull_if_missing(
    image: Image,
    policy: str,
    store: ImageStore,
    deadline: Deadline,
    tell: Callable[[str], None],
    check: Callable[[], None],
    on_bytes: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> None:
    """Have the image on the daemon.

    Args:
      tell: gets a line of progress every few seconds.
      on_bytes: gets ``pull``, the bytes so far and in all, as they come.
      check: raises where the pull shall end early.

    Raises:
      InfrastructureError: it cannot be had, or not in time; never the model's fault.
    """
    if image.source != "registry" or store.image(image.reference, deadline) is not None:
        return
    if policy == "never":
        raise _not_here(image.asked)
    pull = _Pull(image.asked, lambda: store.pull(image.reference, deadline), tell, on_bytes)

    def finished() -> bool | None:
        check()
        return pull.done or None

    with contextlib.closing(pull):
        try:
            wait_until(finished, deadline, news=pull.news)
        except DeadlineExceeded as error:
            raise InfrastructureError(
                ReasonCode.IMAGE_PULL_TIMEOUT,
                f"{image.asked}: {pull.progress}.",
                next_step="Pull it beforehand (docker pull), or raise serving_spec.local_docker.pull_timeout_seconds.",
            ) from error
    if pull.failure is not None:
        raise pull.failure
    if pull.problem:
        raise refusal(f"pull {image.asked}", pull.problem, ReasonCode.IMAGE_PULL_FAILED)
    if store.image(image.reference, deadline) is None:
        raise InfrastructureError(ReasonCode.IMAGE_PULL_FAILED, f"{image.asked}: the pull ended without the image.")


class _Pull:
    """Asks for the pull and reads the daemon's progress messages in a thread: a silent registry cannot hold up the waiter.

    Attributes:
      news: announced at the end.
      done: whether it has ended.
      problem: what the daemon said went wrong.
      failure: why the daemon could not be asked.
    """

    def __init__(
        self,
        asked: str,
        begin: Callable[[], _Stream],
        tell: Callable[[str], None],
        on_bytes: Callable[[str, int, int], None],
    ) -> None:
        self.news = News()
        self.done = False
        self.problem = ""
        self.failure: InfrastructureError | None = None
        self._asked = asked
        self._begin = begin
        self._tell = tell
        self._on_bytes = on_bytes
        self._layers: dict[str, tuple[int, int]] = {}
        self._stream: _Stream | None = None
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._read, name="docker-pull", daemon=True)
        self._thread.start()

    @property
    def progress(self) -> str:
        """How far it is, for people."""
        have, total = self._bytes()
        if not total:
            return "the registry has sent nothing yet"
        return f"{have / 1e6:.0f} of {total / 1e6:.0f} MB in {len(self._layers)} layers"

    def _bytes(self) -> tuple[int, int]:
        layers = self._layers.values()
        return sum(current for current, _ in layers), sum(total for _, total in layers)

    def close(self) -> None:
        """Let the daemon give up the pull, if it is still at it."""
        self._closed.set()
        if self._stream is not None:
            self._stream.close()
            self._thread.join(1.0)

    def _read(self) -> None:
        told = SYSTEM_CLOCK.monotonic()
        try:
            self._stream = self._begin()
            for message in self._stream:
                self._note(message)
                self._on_bytes("pull", *self._bytes())
                if self._closed.is_set():
                    break
                if SYSTEM_CLOCK.monotonic() - told > _TELL_EVERY:
                    told = SYSTEM_CLOCK.monotonic()
                    self._tell(f"pulling {self._asked}: {self.progress}")
        except InfrastructureError as error:
            self.failure = error
        except Exception as error:  # a message that is none; the daemon's words are all there is to tell
            self.problem = self.problem or str(error)
        self.done = True
        self.news.announce()

    def _note(self, message: dict[str, Any]) -> None:
        if "error" in message:
            self.problem = str((message.get("errorDetail") or {}).get("message") or message["error"])
        detail = message.get("progressDetail") or {}
        if message.get("status") == "Downloading" and detail.get("total"):
            self._layers[str(message.get("id"))] = (int(detail.get("current", 0)), int(detail["total"]))
        elif message.get("status") in ("Download complete", "Pull complete"):
            _, total = self._layers.get(str(message.get("id")), (0, 0))
            self._layers[str(message.get("id"))] = (total, total)


def _local(asked: str, local: dict[str, Any], known: str) -> Image:
    if known:
        return Image(asked, known, f"{repository(asked)}@{known}", "local copy")
    made = shaped(local, _IMAGE).get("Id", "")
    if not made:
        raise InfrastructureError(ReasonCode.IMAGE_NOT_FOUND, f"{asked}: the daemon does not tell the image's id.")
    return Image(asked, made, made, "local build")


def _repo_digest(local: dict[str, Any], name: str) -> str:
    """The digest under which the daemon got a local image from ``name``; empty if it came from nowhere."""
    for entry in shaped(local, _IMAGE).get("RepoDigests", []):
        repo, _, digest = str(entry).partition("@")
        if repo in (name, name.removeprefix("docker.io/").removeprefix("library/")):
            return digest
    return ""


def _not_here(asked: str) -> InfrastructureError:
    return InfrastructureError(
        ReasonCode.IMAGE_NOT_FOUND,
        f"{asked} is not on the daemon, and pull_policy is never.",
        next_step="Pull it beforehand (docker pull), or set serving_spec.local_docker.pull_policy to auto.",
    )
