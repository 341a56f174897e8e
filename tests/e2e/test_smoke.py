"""The whole way on a real installation: from a form in a browser to a score, through two murders.

One run of `make up`'s supervisor in a folder of its own, with its own PostgreSQL. A dataset, in
which test questions are hidden, is handed in through the browser; in mid-training the worker and
then the training job itself are killed with SIGKILL. It must get its score all the same, wait for a
reviewer, and be published with a mark once she has judged. The scale is the smallest there is: what
is tested depends on no size, and `make demo` goes the same way at `smoke`.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from evaluation.contamination.questions import read_questions
from evaluation.suite import load_suite, task_path
from tests.browsers import launched_browser

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 900  # seconds for a whole submission on a slow machine
PYTHON = str(ROOT / ".venv/bin/python")
SCALE = "cpu-300k"
BOARD = f"/leaderboard/filtering/{SCALE}/"
SUITE = load_suite("smoke")
LEAKED = "smoke_word_order"


@pytest.fixture(scope="module")
def site(installation):
    return installation(CRUCIBLE_SCALES=SCALE)


@pytest.fixture(scope="module")
def passwords(site) -> dict[str, str]:
    return {
        "ann": site.manage("create_user", "ann"),
        "olga": site.manage("create_user", "olga", "--role", "administrator"),
    }


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A curated toy dataset that fills the scale."""
    folder = tmp_path_factory.mktemp("dataset")
    pool = ["examples/build_pool.py", str(folder / "pool"), "--megabytes", "8"]
    subprocess.run([PYTHON, *pool], cwd=ROOT, check=True)
    for recipe, source, output in (
        ("extraction", "pool", "extracted"),
        ("heuristics", "extracted", "curated"),
    ):
        command = ["submissions.cli", "curate", f"examples/story/{recipe}.toml", "--input",
                   str(folder / source), "--output", str(folder / output), "--steps",
                   "examples/prose_paragraphs.py"]  # fmt: skip
        subprocess.run([PYTHON, "-m", *command], cwd=ROOT, check=True)
    task = next(task for task in SUITE.tasks if task.label == LEAKED)
    leaked = read_questions(task, task_path(SUITE, task, None))[:12]
    text = "\n\n".join(f"{one.question} {one.answers[0]}" for one in leaked)
    (folder / "curated" / "leak.jsonl").write_text(json.dumps({"text": text}) + "\n")
    return folder / "curated"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with launched_browser() as instance:
        yield instance


def log_in(page: Page, site, name: str, password: str) -> None:
    page.goto(f"{site.url}/login/")
    page.fill("#id_login", name)
    page.fill("#id_password", password)
    page.click("main button.button")
    page.wait_for_url("**/submissions/")


def wait_live(page: Page, pattern: str, seconds: float) -> None:
    """Waits for text that appears without a reload: htmx must bring it."""
    page.wait_for_function(
        "pattern => new RegExp(pattern).test(document.querySelector('main').innerText)",
        arg=pattern, timeout=1000 * seconds,
    )  # fmt: skip


def training_steps(site, attempt: int) -> list[int]:
    """The steps of which an attempt of the first submission's training has told."""
    text = (site.home / f"jobs/1-train-a{attempt}/progress.jsonl").read_text()
    told = [json.loads(line) for line in text.rpartition("\n")[0].splitlines()]  # whole lines
    return [line["step"] for line in told if line.get("unit") == "steps"]


def test_from_the_form_to_a_score_through_two_kills(site, passwords, dataset, browser):
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    log_in(page, site, "ann", passwords["ann"])
    page.goto(f"{site.url}/submissions/new/")
    page.fill("#id_name", "by browser")
    page.set_input_files("#id_shards", sorted(dataset.iterdir()))
    page.click("main button")
    page.wait_for_url(re.compile(r"/submissions/\d+/$"))

    checkpointed = site.home / "work"
    site.wait_until(lambda: list(checkpointed.glob("*/train/**/*.pt")), PATIENCE, "a checkpoint")
    (first,) = site.children("training_recipes.train")
    os.kill(first, signal.SIGSTOP)  # so that a fast machine is not done before it is killed
    wait_live(page, r"training \d+ of", 60)
    for pid in site.children("celery"):
        os.kill(pid, signal.SIGKILL)
    site.wait_until(lambda: site.children("celery"), 30, "a new worker")
    assert site.children("training_recipes.train") == [first]  # it outlived its parent
    stopped_at = training_steps(site, 1)[-1]
    os.kill(first, signal.SIGCONT)
    site.wait_until(lambda: training_steps(site, 1)[-1] > stopped_at, 60, "a further step")
    os.kill(first, signal.SIGKILL)
    wait_live(page, r"attempt 2", 60)

    wait_live(page, r"waiting for a reviewer", PATIENCE)
    assert not complaints
    text = page.inner_text("main")
    assert "SMOKE" in text
    assert "smoke_" in text
    history = page.inner_text(".events")
    assert history.count("launched") == 8  # seven stages, one of them twice
    assert len(re.findall(r"-train-a2", history)) == 2  # launched and finished
    assert training_steps(site, 2)[0] > 1  # it went on from the checkpoint
    page.close()


def test_a_reviewer_judges_the_leak_and_it_is_published_with_a_mark(site, passwords, browser):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    log_in(page, site, "olga", passwords["olga"])
    page.goto(f"{site.url}/admin/review/item/?severity__exact=high")
    page.click("#result_list tbody th a")
    evidence = page.inner_text(".pair >> nth=0")
    assert "opens a connection to the host" in evidence
    assert page.locator(".pair mark").count() > 1
    page.check("input[value=accept_with_mark]")
    page.fill("textarea", "Twelve questions in one document.")
    page.click(".verdict button")
    page.goto(f"{site.url}/submissions/1/contamination/")
    text = page.inner_text("main")
    assert "Twelve questions in one document." in text
    assert "Score without leaked questions" in text
    assert "88 of 100" in text
    page.goto(site.url + BOARD)
    assert f"test questions found, accepted: {LEAKED}" in page.inner_text(".board")
    page.goto(f"{site.url}{BOARD}?marked=hide")
    assert "by browser" not in page.inner_text("main")
    context.close()


def test_the_command_line_sees_the_same(site, passwords):
    token = site.manage("create_token", "ann")
    crucible = str(ROOT / ".venv/bin/crucible")
    board = json.loads(
        site.run(crucible, "leaderboard", "--track", "filtering", "--scale", SCALE, "--json")
    )
    (row,) = board["rows"]
    assert (row["name"], row["rank"], row["score_label"]) == ("by browser", 1, "SMOKE")
    results = json.loads(
        site.run(crucible, "results", str(row["id"]), "--json", CRUCIBLE_TOKEN=token)
    )
    assert results["score"]["smoke"] == row["score"]
    assert results["score"]["core"] is None
    assert len(results["tasks"]) >= 8
    assert all(task["n"] >= 40 for task in results["tasks"].values())
    # A curated text of this size teaches more than guessing: the mean is clear of zero.
    assert row["score"] > 2 * results["score"]["smoke_stderr"]


@pytest.mark.parametrize("width", [1280, 390])
def test_pages_fit_the_screen_and_need_no_script(site, passwords, browser, width):
    """With JavaScript switched off, at desktop and phone width: no page scrolls sideways."""
    context = browser.new_context(
        viewport={"width": width, "height": 844}, java_script_enabled=False
    )
    page = context.new_page()
    log_in(page, site, "ann", passwords["ann"])
    for path in (BOARD, "/submissions/", "/submissions/new/",
                 "/submissions/1/", "/submissions/1/log/train/", "/submissions/1/contamination/",
                 "/account/"):  # fmt: skip
        answer = page.goto(site.url + path)
        assert answer is not None
        assert answer.status == 200, path
        size = page.locator("html").bounding_box()
        assert size is not None
        assert size["width"] <= width, path
        assert page.locator("h1").count() == 1
    context.close()


def test_a_keyboard_reaches_everything_on_the_board(site, browser):
    page = browser.new_page()
    page.goto(site.url + BOARD)
    reached = []
    for _ in range(30):
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.innerText || ''").strip())
    assert reached[0] == "Skip to the content"
    assert "by browser" in reached
    page.close()


def test_bad_input_costs_no_training(site, passwords, tmp_path):
    token = site.manage("create_token", "ann")
    crucible = str(ROOT / ".venv/bin/crucible")
    (tmp_path / "bad.jsonl").write_text('{"text": "fine"}\n{"txt": "not"}\n')
    document = json.loads(
        site.run(crucible, "submit", str(tmp_path / "bad.jsonl"), "--track", "filtering", "--scale",
                 SCALE, "--name", "bad", "--json", CRUCIBLE_TOKEN=token)
    )  # fmt: skip
    status = ["status", str(document["id"]), "--wait", "--json"]
    done = subprocess.run(
        [crucible, *status], env=site.environment | {"CRUCIBLE_TOKEN": token}, cwd=ROOT,
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 1
    failure = json.loads(done.stdout)["error"]
    assert (failure["code"], failure["shard"], failure["line"]) == ("text_missing", "bad.jsonl", 2)
    assert not (site.home / "jobs" / f"{document['id']}-train-a1").exists()


def test_stopping_and_starting_keeps_everything(site, passwords):
    """Ctrl-C stops all that `make up` started; the next start finds the same board."""
    (supervisor,) = site.children("crucible.supervisor")
    os.kill(supervisor, signal.SIGINT)
    site.wait_until(lambda: not site.children("crucible.supervisor"), 60, "the supervisor to stop")
    for word in ("gunicorn", "celery", "reconcile", "postgres"):
        assert site.children(word) == [], word
    assert "stopped" in (site.home / "up.log").read_text()
    site.start()
    site.wait_until(site.healthy, 90, "the site again")
    with urllib.request.urlopen(site.url + BOARD) as answer:
        assert "by browser" in answer.read().decode()
