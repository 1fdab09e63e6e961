"""Keeps the books of training jobs: one at a time, idempotent by id, cancellable, with events to follow."""

from __future__ import annotations

import hashlib
import threading
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ..allocation import hand_back_freed_memory
from ..base_model import BaseModel
from ..checkpoints import read_manifest
from ..errors import SidecarError
from ..marks import passing
from ..protocol import TrainingJobRequest
from .trainer import Cancelled, Event, run_job

Status = Literal["running", "ended", "failed", "cancelled"]
Runner = Callable[[BaseModel, TrainingJobRequest, str, Callable[[], bool]], Iterator[Event]]


@dataclass
class Job:
    """A job and everything that it has said so far."""

    job_id: str
    request_digest: str
    status: Status = "running"
    events: list[Event] = field(default_factory=lambda: [])
    cancel: threading.Event = field(default_factory=threading.Event)

    def describe(self) -> dict[str, Any]:
        """The job as it goes over the wire."""
        return {"job_id": self.job_id, "status": self.status, "events": self.events}


class TrainingJobs:
    """Starts, finds and cancels jobs. Thread-safe."""

    def __init__(self, base: BaseModel, *, run: Runner = run_job) -> None:
        self._base = base
        self._run = run
        self._jobs: dict[str, Job] = {}
        self._changed = threading.Condition()

    def start(self, request: TrainingJobRequest) -> Job:
        """Starts the job, or gives the one that already has this id, which is never trained twice."""
        digest = _request_digest(request)
        with self._changed:
            known = self._jobs.get(request.job_id) or self._finished_before(request, digest)
            if known is not None and known.status in ("running", "ended"):
                if known.request_digest != digest:
                    raise SidecarError(
                        "job_id_taken",
                        f"Job {request.job_id} exists with another content.",
                        fix="Give each content its own job_id.",
                        http_status=409,
                        param="job_id",
                    )
                return known
            running = self.current()
            if running is not None:
                raise SidecarError(
                    "training_busy",
                    f"Job {running} is running.",
                    fix="Wait until it has ended, or cancel it.",
                    http_status=409,
                )
            if Path(request.adapter.folder).exists():
                raise SidecarError(
                    "folder_taken",
                    f"{request.adapter.folder} exists and is not the result of this job.",
                    fix="Remove the folder, or train into another step.",
                    http_status=409,
                    param="adapter.folder",
                )
            job = Job(request.job_id, digest)
            self._jobs[request.job_id] = job
        passing("job-accepted")
        threading.Thread(target=self._work, args=(job, request), name="training", daemon=True).start()
        return job

    def get(self, job_id: str) -> Job:
        """The job of this id; raises SidecarError 404 `job_not_found`."""
        job = self._jobs.get(job_id)
        if job is None:
            raise SidecarError(
                "job_not_found",
                f"There is no job {job_id}.",
                fix="Submit it again: the same id is never trained twice.",
                http_status=404,
            )
        return job

    def current(self) -> str | None:
        """The id of the running job."""
        return next((job.job_id for job in self._jobs.values() if job.status == "running"), None)

    def wait_for_events(self, job: Job, after: int, timeout: float) -> list[Event]:
        """Events with seq > after; waits up to `timeout` seconds for the first of them."""
        with self._changed:
            self._changed.wait_for(lambda: len(job.events) > after or job.status != "running", timeout)
            return job.events[after:]

    def cancel(self, job_id: str) -> None:
        """Asks the job to stop between two forward passes."""
        self.get(job_id).cancel.set()

    def _finished_before(self, request: TrainingJobRequest, digest: str) -> Job | None:
        """The job as an earlier process finished it, read off its adapter folder."""
        manifest = read_manifest(Path(request.adapter.folder))
        if manifest is None or manifest.get("job_id") != request.job_id:
            return None
        job = Job(request.job_id, str(manifest.get("request_digest")), status="ended")
        spec = request.adapter
        adapter = {"name": spec.name, "step": spec.step, "folder": spec.folder, "digest": manifest["digest"]}
        job.events.append({"seq": 1, "type": "ended", "adapter": adapter, "metrics": manifest.get("metrics", {})})
        if job.request_digest == digest:
            self._jobs[request.job_id] = job
        return job

    def _work(self, job: Job, request: TrainingJobRequest) -> None:
        try:
            for event in self._run(self._base, request, job.request_digest, job.cancel.is_set):
                self._say(job, event, "ended" if event["type"] == "ended" else "running")
        except Cancelled:
            self._say(job, {"type": "cancelled"}, "cancelled")
        except SidecarError as error:
            self._fail(job, error.code, error.message, error.fix)
        except Exception as error:  # the thread's last line of defence: a silent death would hang its reader
            traceback.print_exc()
            self._fail(job, "internal_error", f"{type(error).__name__}: {error}", "Report this with the log.")
        finally:
            hand_back_freed_memory()

    def _fail(self, job: Job, code: str, message: str, fix: str) -> None:
        self._say(job, {"type": "failed", "error": {"code": code, "message": message, "fix": fix}}, "failed")

    def _say(self, job: Job, event: Event, status: Status) -> None:
        if event["type"] == "gradient_step":
            passing("gradient-step")
        elif event["type"] == "ended":
            passing("job-ended")
        with self._changed:
            job.events.append({"seq": len(job.events) + 1, **event})
            job.status = status
            self._changed.notify_all()


def _request_digest(request: TrainingJobRequest) -> str:
    return f"sha256:{hashlib.sha256(request.model_dump_json().encode()).hexdigest()}"
