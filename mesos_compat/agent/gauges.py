# SPDX-License-Identifier: Apache-2.0
"""The agent's metrics: read from its state at each snapshot.

Source: spec ``metrics.tsv``.
"""

from __future__ import annotations

from collections.abc import Callable

from mesos_compat.agent.machine.state import AgentState, ExecutorPhase
from mesos_compat.base.clock import Clock
from mesos_compat.base.metrics import Metrics
from mesos_compat.model.resources import Resources
from mesos_compat.pb.mesos import mesos_pb2 as pb

_COUNTERS = (
    "slave/container_launch_errors",
    "slave/executors_preempted",
    "slave/executors_terminated",
    "slave/invalid_framework_messages",
    "slave/invalid_status_updates",
    "slave/recovery_errors",
    "slave/tasks_failed",
    "slave/tasks_finished",
    "slave/tasks_gone",
    "slave/tasks_killed",
    "slave/tasks_lost",
    "slave/valid_framework_messages",
    "slave/valid_status_updates",
)
_EXECUTOR_PHASES = {
    "slave/executors_registering": ExecutorPhase.REGISTERING,
    "slave/executors_running": ExecutorPhase.RUNNING,
    "slave/executors_terminating": ExecutorPhase.TERMINATING,
}
_TASK_STATES = {
    "slave/tasks_killing": pb.TASK_KILLING,
    "slave/tasks_running": pb.TASK_RUNNING,
    "slave/tasks_staging": pb.TASK_STAGING,
    "slave/tasks_starting": pb.TASK_STARTING,
}
#: Shown from the agent's first id on. There are no resource providers here.
_RESOURCE_PROVIDERS = (
    "resource_provider_manager/subscribed",
    "resource_provider_manager/events/subscribe",
    "resource_provider_manager/events/disconnect",
)
_SCALARS = ("cpus", "gpus", "mem", "disk")


def register(
    metrics: Metrics, state: AgentState, clock: Clock, fetcher_cache_bytes: int = 2 << 30
) -> None:
    """Register all metrics of the agent proper; the cache of the fetcher is always empty."""
    metrics.gauge(
        "containerizer/fetcher/cache_size_total_bytes", lambda: float(fetcher_cache_bytes)
    )
    metrics.gauge("containerizer/fetcher/cache_size_used_bytes", lambda: 0.0)
    for name in _COUNTERS:
        metrics.gauge(name, _counter(state, name))
    for name, phase in _EXECUTOR_PHASES.items():
        metrics.gauge(name, _executors(state, phase))
    for name, task_state in _TASK_STATES.items():
        metrics.gauge(name, _tasks(state, task_state))
    metrics.gauge("slave/uptime_secs", lambda: clock.time() - state.start_time)
    metrics.gauge("slave/registered", lambda: 1.0 if state.master else 0.0)
    metrics.gauge("slave/frameworks_active", lambda: float(len(state.frameworks)))
    metrics.gauge("slave/recovery_time_secs", lambda: state.recovery_time_s)
    for name in _RESOURCE_PROVIDERS:
        metrics.gauge(name, lambda: None if state.agent_id is None else 0.0)
    for name in _SCALARS:
        _register_scalar(metrics, state, name)


def _register_scalar(metrics: Metrics, state: AgentState, name: str) -> None:
    def total() -> float:
        return Resources.of(state.config.info.resources).scalar(name) or 0.0

    def used() -> float:
        allocated = Resources.of(state.allocated_resources()).unallocated().nonrevocable()
        return allocated.scalar(name) or 0.0

    def percent() -> float:
        whole = total()
        return used() / whole if whole else 0.0

    metrics.gauge(f"slave/{name}_total", total)
    metrics.gauge(f"slave/{name}_used", used)
    metrics.gauge(f"slave/{name}_percent", percent)
    _register_revocable(metrics, state, name)


def _register_revocable(metrics: Metrics, state: AgentState, name: str) -> None:
    def total() -> float:
        return Resources.of(state.oversubscribed or ()).scalar(name) or 0.0

    def used() -> float:
        return Resources.of(state.allocated_resources()).revocable().scalar(name) or 0.0

    def percent() -> float:
        whole = total()
        return used() / whole if whole else 0.0

    metrics.gauge(f"slave/{name}_revocable_total", total)
    metrics.gauge(f"slave/{name}_revocable_used", used)
    metrics.gauge(f"slave/{name}_revocable_percent", percent)


def _counter(state: AgentState, name: str) -> Callable[[], float]:
    return lambda: float(state.counters.get(name, 0))


def _executors(state: AgentState, phase: ExecutorPhase) -> Callable[[], float]:
    return lambda: float(sum(executor.phase is phase for executor in state.executors()))


def _tasks(state: AgentState, wanted: pb.TaskState) -> Callable[[], float]:
    def count() -> float:
        found = sum(
            task.state == wanted
            for executor in state.executors()
            for task in (*executor.queued.values(), *executor.launched.values())
        )
        if wanted == pb.TASK_STAGING:
            frameworks = state.frameworks.values()
            found += sum(len(p.request.tasks) for each in frameworks for p in each.pending)
        return float(found)

    return count
