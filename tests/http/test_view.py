# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from mesos_compat.agent.machine.state import Framework
from mesos_compat.authorization.api import Action, Approver
from mesos_compat.http.view import EVERYTHING, View
from mesos_compat.model.ids import ContainerId
from mesos_compat.pb.mesos import mesos_pb2 as pb

OF = Framework(pb.FrameworkInfo(user="u", name="n", id=pb.FrameworkID(value="f")))


def shown(view: View) -> set[bool]:
    return {
        view.framework(OF),
        view.task(OF, pb.TaskInfo()),
        view.standalone(ContainerId("c")),
        view.role("r"),
        view.resource(pb.Resource()),
        view.flags,
    }


def test_everything() -> None:
    assert shown(EVERYTHING) == {True}


@pytest.mark.parametrize("approvers", [{}, {Action.VIEW_CONTAINER: lambda what: True}])
def test_what_nobody_was_asked_about_is_hidden(approvers: dict[Action, Approver]) -> None:
    assert shown(View(approvers)) == {False}
