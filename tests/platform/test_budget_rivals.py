"""Fifty submissions at the same moment, in real transactions, against a limit: none too many."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.db.models import Sum

from crucible.budgets.models import Allowance, Entry, Membership, Team
from crucible.budgets.services import allowance_grant, price_of
from crucible.entries.models import Submission
from submissions.failures import Failure

BIG = "400m-1x"
PRICE = price_of(BIG)
RIVALS, LIMIT = 50, 7


@pytest.mark.parametrize("bound", ["concurrent", "hours"])
def test_of_fifty_at_once_exactly_as_many_as_allowed_are_accepted(
    committed, settings, tmp_path, make_submission, bound
):
    settings.CRUCIBLE_SCALES = [BIG]
    settings.CRUCIBLE_MAX_OPEN_UPLOADS = RIVALS  # of budgets, not of uploads
    user = User.objects.create_superuser("rival", password="a long passphrase")
    team = Team.objects.create(name="rivals")
    Membership.objects.create(team=team, user=user)
    hours, concurrent = (1000 * PRICE, LIMIT) if bound == "concurrent" else (LIMIT * PRICE, 1000)
    allowance_grant(team=team, scale=BIG, concurrent=concurrent, hours=hours, reason="test",
                    actor=user)  # fmt: skip
    barrier = threading.Barrier(RIVALS)

    def rival(number):
        try:
            barrier.wait(30)
            return make_submission(user, scale=BIG, name=f"no. {number}").id
        except Failure as failure:
            return failure.code
        finally:
            connection.close()

    with ThreadPoolExecutor(RIVALS) as pool:
        answers = list(pool.map(rival, range(RIVALS)))
    accepted = [answer for answer in answers if answer != "budget_exceeded"]
    assert len(accepted) == len(set(accepted)) == LIMIT
    assert Submission.objects.count() == LIMIT
    assert Allowance.objects.get().reserved == LIMIT * PRICE
    assert Entry.objects.aggregate(sum=Sum("available"))["sum"] == Allowance.objects.get().available
