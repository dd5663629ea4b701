# SPDX-License-Identifier: Apache-2.0
"""The only door of the machine: one event in, effects out. Pure."""

from __future__ import annotations

from typing import assert_never

from mesos_compat.agent.machine import (
    accept,
    authentication,
    authorizations,
    draining,
    events,
    executors,
    frameworks,
    libprocess_executors,
    operation_streams,
    operations,
    oversubscription,
    recovery,
    registration,
    reports,
    resource_store,
    status,
    stopping,
    streams,
)
from mesos_compat.agent.machine.effects import Effect
from mesos_compat.agent.machine.events import Event
from mesos_compat.agent.machine.state import AgentState
from mesos_compat.agent.machine.turn import Turn


def step(state: AgentState, event: Event, now: float, entropy: bytes) -> list[Effect]:
    """Change ``state`` by ``event`` and return what is to be done, in order.

    ``now`` is seconds since the epoch; ``entropy`` are at most 64 bytes that
    nobody can guess, others for each event.
    """
    turn = Turn(state, now, entropy)
    _handle(turn, event)
    draining.leave_if_done(turn)
    return resource_store.in_order(state, turn.effects)


def _handle(turn: Turn, event: Event) -> None:
    match event:
        # Those of which each task has several come first: the others are many.
        case events.ExecutorUpdate():
            reports.executor_update(turn, event)
        case events.ContainerStatusRead():
            status.container_status_read(turn, event)
        case events.UpdateAcknowledged():
            status.acknowledged(turn, event)
        case events.Recovered():
            recovery.recovered(turn, event)
        case events.ReregistrationTimeout():
            recovery.timeout(turn, event)
        case events.ReconnectDue():
            libprocess_executors.reconnect_due(turn, event)
        case events.AgentNotStored():
            registration.not_stored(turn, event)
        case events.UpdateStored():
            status.update_stored(turn, event)
        case events.StoreDue():
            status.store_due(turn, event)
        case events.TaskNotStored():
            executors.task_not_stored(turn, event)
        case events.TaskStoreDue():
            executors.task_store_due(turn, event)
        case events.MasterDetected():
            registration.master_detected(turn, event)
        case events.DetectionFailed():
            registration.detection_failed(turn, event)
        case events.RegistrationDue():
            registration.registration_due(turn, event)
        case events.AuthenticationReply():
            authentication.replied(turn, event)
        case events.AuthenticationTimeout():
            authentication.timed_out(turn, event)
        case events.AgentRegistered():
            registration.registered(turn, event)
        case events.AgentReregistered():
            registration.reregistered(turn, event)
        case events.Ping():
            registration.ping(turn, event)
        case events.PingTimeout():
            registration.ping_timeout(turn, event)
        case events.LinkExited():
            registration.link_exited(turn, event)
        case events.CheckpointResources():
            operations.checkpoint_resources(turn, event)
        case events.ApplyOperation():
            operations.apply(turn, event)
        case events.OperationAcknowledged():
            operations.acknowledged(turn, event)
        case events.ReconcileOperations():
            operations.reconcile(turn, event)
        case events.OperationRetryDue():
            operation_streams.retry_due(turn, event)
        case events.ResourcesStored():
            resource_store.stored(turn, event)
        case events.ResourcesStoreDue():
            resource_store.store_due(turn, event)
        case events.Estimated():
            oversubscription.estimated(turn, event)
        case events.Corrected():
            oversubscription.corrected(turn, event)
        case events.ShutdownReceived():
            stopping.shutdown_received(turn, event)
        case events.UnregisterRequested():
            stopping.unregister_requested(turn, event)
        case events.DrainAgent():
            draining.drain_agent(turn, event)
        case events.LeaveRequested():
            draining.leave_requested(turn, event)
        case events.LeaveTimeout():
            draining.leave_timeout(turn, event)
        case events.RunTask():
            accept.run_task(turn, event)
        case events.RunTaskGroup():
            accept.run_task_group(turn, event)
        case events.TasksAuthorized():
            authorizations.answered(turn, event)
        case events.KillTask():
            stopping.kill_task(turn, event)
        case events.ShutdownExecutor():
            stopping.shutdown_executor(turn, event)
        case events.ShutdownFramework():
            stopping.shutdown_framework(turn, event)
        case events.UpdateFramework():
            frameworks.update(turn, event)
        case events.FrameworkToExecutor():
            executors.framework_message(turn, event)
        case events.RetryDue():
            streams.retry_due(turn, event)
        case events.ExecutorSubscribed():
            executors.subscribed(turn, event)
        case events.RegisterExecutor():
            libprocess_executors.register(turn, event)
        case events.ReregisterExecutor():
            libprocess_executors.reregister(turn, event)
        case events.StatusUpdateSent():
            reports.status_update(turn, event)
        case events.ExecutorMessage():
            executors.executor_message(turn, event)
        case events.RegistrationTimeout():
            executors.registration_timeout(turn, event)
        case events.ShutdownTimeout():
            executors.shutdown_timeout(turn, event)
        case events.SandboxMade():
            executors.sandbox_made(turn, event)
        case events.ContainerLaunched():
            executors.launched(turn, event)
        case events.ContainerTerminated():
            executors.terminated(turn, event)
        case events.ContainerUpdated():
            executors.container_updated(turn, event)
        case _:
            assert_never(event)
