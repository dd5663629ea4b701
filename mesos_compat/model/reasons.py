# SPDX-License-Identifier: Apache-2.0
"""THE table of task statuses that the agent makes by itself: cause → state, reason, message.

Texts are upstream's to the letter where it has one. Pure.

Source: spec ``agent-master`` 10, ``executors`` 4.8.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace

from mesos_compat.pb.mesos import mesos_pb2 as pb

_Reason = pb.TaskStatus.Reason


class Verdict(enum.Enum):
    """What a partition-aware framework is told, and what another."""

    DROPPED = (pb.TASK_DROPPED, pb.TASK_LOST)
    GONE = (pb.TASK_GONE, pb.TASK_LOST)
    KILLED = (pb.TASK_KILLED, pb.TASK_KILLED)
    FAILED = (pb.TASK_FAILED, pb.TASK_FAILED)
    ERROR = (pb.TASK_ERROR, pb.TASK_ERROR)


@dataclass(frozen=True, slots=True)
class Cause:
    """Why the agent reports a task by itself."""

    verdict: Verdict
    reason: pb.TaskStatus.Reason
    message: str
    #: Whether the status names the executor.
    with_executor: bool = True
    #: The state that the containerizer gave; goes before the verdict.
    given_state: pb.TaskState | None = None

    def state(self, partition_aware: bool) -> pb.TaskState:
        """Return the state that a framework is told."""
        if self.given_state is not None:
            return self.given_state
        return self.verdict.value[0 if partition_aware else 1]

    def saying(self, message: str) -> Cause:
        """Return the same cause with another text."""
        return replace(self, message=message)


#: Row L1.
CPU_LIMITS_UNSUPPORTED = Cause(
    Verdict.DROPPED,
    _Reason.REASON_GC_ERROR,
    "CPU limits can only be set on tasks launched in Mesos containers when the agent has loaded"
    " the 'cgroups/cpu' isolator",
    with_executor=False,
)
MEMORY_LIMITS_UNSUPPORTED = CPU_LIMITS_UNSUPPORTED.saying(
    "Memory limits can only be set on tasks launched in Mesos containers when the agent has loaded"
    " the 'cgroups/mem' isolator"
)
#: Row L3; the message names the task, or the error.
UNAUTHORIZED = Cause(Verdict.ERROR, _Reason.REASON_TASK_UNAUTHORIZED, "", with_executor=False)
UNAUTHORIZED_GROUP = Cause(
    Verdict.ERROR, _Reason.REASON_TASK_GROUP_UNAUTHORIZED, "", with_executor=False
)
#: Row L4.
DRAINING = Cause(
    Verdict.DROPPED,
    _Reason.REASON_SLAVE_DRAINING,
    "Task was received while agent was already draining",
)
#: Row L5.
OUTDATED_RESOURCES = Cause(
    Verdict.DROPPED, _Reason.REASON_INVALID_OFFERS, "Task assumes outdated resource state"
)
#: Row L6.
TASK_RESOURCES_UNKNOWN = Cause(
    Verdict.DROPPED,
    _Reason.REASON_RESOURCES_UNKNOWN,
    "The checkpointed resources being used by the task or task group are unknown to the agent",
)
#: Row L7.
EXECUTOR_RESOURCES_UNKNOWN = TASK_RESOURCES_UNKNOWN.saying(
    "The checkpointed resources being used by the executor are unknown to the agent"
)
#: Row L8.
COMMAND_EXECUTOR_EXISTS = Cause(
    Verdict.DROPPED,
    _Reason.REASON_TASK_INVALID,
    "Cannot reuse an already existing executor for a command task",
)
#: Row L9.
EXECUTOR_EXISTS = Cause(
    Verdict.DROPPED,
    _Reason.REASON_EXECUTOR_TERMINATED,
    "Master wants to launch executor, but one already exists",
)
#: Row L10.
EXECUTOR_MISSING = EXECUTOR_EXISTS.saying(
    "No executor is expected to launch and there is none running"
)
#: Row L11; the message is the error.
SANDBOX_FAILED = EXECUTOR_EXISTS.saying("")
#: Row L12.
EXECUTOR_TERMINATING = Cause(
    Verdict.DROPPED,
    _Reason.REASON_EXECUTOR_TERMINATED,
    "Executor terminating",
    with_executor=False,
)
EXECUTOR_TERMINATED = EXECUTOR_TERMINATING.saying("Executor terminated")
#: Deviation: what no agent can run is refused at once: resources that none of any version could
#: have offered, default executors without their program. Upstream starts such an executor, which
#: fails.
INVALID_TASK = Cause(Verdict.ERROR, _Reason.REASON_TASK_INVALID, "", with_executor=False)
INVALID_GROUP = Cause(Verdict.ERROR, _Reason.REASON_TASK_GROUP_INVALID, "", with_executor=False)
#: Deviation: see ``agent.machine.containers``.
GROUP_UNDELIVERABLE = INVALID_GROUP.saying(
    "Task groups cannot be delivered to an executor that uses libprocess messages"
)
#: Rows K1 to K3, and K1 and K2 of a group.
KILLED_BEFORE_DELIVERY = Cause(
    Verdict.KILLED,
    _Reason.REASON_TASK_KILLED_DURING_LAUNCH,
    "Killed before delivery to the executor",
)
GROUP_KILLED_BEFORE_DELIVERY = KILLED_BEFORE_DELIVERY.saying(
    "A task within the task group was killed before delivery to the executor"
)
#: Row K4.
NO_EXECUTOR = Cause(
    Verdict.DROPPED,
    _Reason.REASON_EXECUTOR_TERMINATED,
    "Cannot find executor",
    with_executor=False,
)
#: Row R1.
UNKNOWN_TASK = Cause(
    Verdict.DROPPED,
    _Reason.REASON_RECONCILIATION,
    "Reconciliation: task unknown to the agent",
    with_executor=False,
)
#: Row R2.
NEVER_DELIVERED = Cause(
    Verdict.DROPPED, _Reason.REASON_SLAVE_RESTARTED, "Task launched during agent restart"
)
#: Row E.
EXECUTOR_ENDED = Cause(Verdict.FAILED, _Reason.REASON_EXECUTOR_TERMINATED, "Executor terminated")
#: Rows E1 and E2; the message is the error.
LAUNCH_FAILED = Cause(Verdict.FAILED, _Reason.REASON_CONTAINER_LAUNCH_FAILED, "")
#: Row E4; the message carries the time.
REGISTRATION_TIMEOUT = Cause(
    Verdict.FAILED, _Reason.REASON_EXECUTOR_REGISTRATION_TIMEOUT, "Executor did not register within"
)
#: Row E5; the message carries the time.
REREGISTRATION_TIMEOUT = Cause(
    Verdict.GONE,
    _Reason.REASON_EXECUTOR_REREGISTRATION_TIMEOUT,
    "Executor did not reregister within",
)
#: Row E6; the message carries the error.
UPDATE_FAILED = Cause(
    Verdict.GONE,
    _Reason.REASON_CONTAINER_UPDATE_FAILED,
    "Failed to update resources for container",
)
#: Row E3 and the text of row E for a container that nobody knows.
UNKNOWN_CONTAINER = "Abnormal executor termination: unknown container"
#: Row E7.
PREEMPTED = Cause(
    Verdict.GONE,
    _Reason.REASON_CONTAINER_PREEMPTED,
    "Container preempted by QoS correction",
)
