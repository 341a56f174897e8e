"""Datasets by reference on the site: what it takes, whose key is used, and what jobs get."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import json
import os
import random
import time
from pathlib import Path

import pytest
from django.db import connection

from crucible.intake import references, store_rules, uploads
from crucible.intake.models import Reference, StoreKey
from crucible.intake.services import submission_create
from crucible.jobs import pipeline
from crucible.jobs.backends import cage_here
from crucible.jobs.backends.base import JobSpec, JobState, JobStatus
from crucible.jobs.backends.local import LocalBackend
from crucible.jobs.backends.rules import Rule
from crucible.jobs.backends.script import script_of
from crucible.jobs.backends.slurm import LAUNCHER
from crucible.jobs.models import Attempt
from submissions.check import check_dataset
from submissions.failures import Failure
from submissions.manifest import MANIFEST, ManifestEntry, ManifestHead, write_manifest
from submissions.store_access import StoreAccess, StoreCredentials, read_access, write_access
from tests.weed import BUCKET, READER
from training_recipes.scales import load_scale
from training_recipes.tokenize import tokenize_dataset

pytestmark = pytest.mark.django_db
STORE = "https://store.example"
SECRET = "canary-store-secret-7f3a"


@pytest.fixture(autouse=True)
def home(settings, tmp_path):
    settings.HOME = tmp_path / "home"
    for name in ("datasets", "work", "jobs", "access"):
        setattr(settings, f"{name.upper()}_DIR", settings.HOME / name)
        (settings.HOME / name).mkdir(parents=True)
    settings.CRUCIBLE_STORES = [STORE]
    return settings.HOME


def entry_of(name: str, content: bytes, **fields: str) -> ManifestEntry:
    sha256 = hashlib.sha256(content).hexdigest()
    return ManifestEntry(name=name, size=len(content), sha256=sha256, **fields)


def manifest_of(*entries: ManifestEntry, base=f"s3://{BUCKET}/p/", endpoint=STORE) -> bytes:
    head = ManifestHead(
        crucible_manifest=1, base=base, endpoint=endpoint, shards=len(entries),
        bytes=sum(entry.size for entry in entries),
    )  # fmt: skip
    path = Path(os.environ.get("TMPDIR", "/tmp")) / f"manifest-{os.getpid()}"
    write_manifest(path, head, entries)
    content = path.read_bytes()
    path.unlink()
    return content


ONE = entry_of("a.jsonl", b'{"text": "a"}\n')


def submit(user, *files: tuple[str, bytes], **fields):
    upload = uploads.upload_create(user=user)
    for name, content in files:
        uploads.shard_receive(upload=upload, name=name, chunks=[content], size=len(content))
    values = {"name": "by reference", "description": "", "track": "filtering", "scale": "smoke",
              "seed": None} | fields  # fmt: skip
    return submission_create(user=user, upload_id=upload.id, **values)


def refusal(user, *files: tuple[str, bytes], **fields) -> Failure:
    with pytest.raises(Failure) as raised:
        submit(user, *files, **fields)
    assert not Reference.objects.exists()
    return raised.value


def key_of(user, name="lab", endpoint=STORE, pair=("key-id", SECRET)) -> StoreKey:
    return references.store_key_create(
        user=user, name=name, endpoint=endpoint, access_key_id=pair[0], secret_access_key=pair[1]
    )


def test_a_manifest_is_submitted_over_the_api(alice, api):
    key_of(alice)
    status, upload = api(alice, "POST", "/uploads", {"scale": "smoke"})
    where = f"/uploads/{upload['id']}/shards/{MANIFEST}"
    status, _ = api(alice, "PUT", where, manifest_of(ONE))
    assert status == 200
    body = {"name": "n", "track": "filtering", "scale": "smoke", "upload": upload["id"]}
    status, answer = api(alice, "POST", "/submissions", body | {"store_key": "not mine"})
    assert (status, answer["code"]) == (400, "store_refused")
    assert "no store key called not mine" in answer["message"]
    status, answer = api(alice, "POST", "/submissions", body | {"store_key": "lab"})
    assert status == 201
    reference = Reference.objects.get()
    assert (reference.base, reference.shards, reference.key_name) == (f"s3://{BUCKET}/p/", 1, "lab")


def test_what_is_refused_before_anything_is_spent(alice, bob, settings, tmp_path):
    key_of(bob)
    key_of(alice, "here")
    settings.CRUCIBLE_STORES.append("https://other.example")
    manifest = (MANIFEST, manifest_of(ONE))
    elsewhere = (MANIFEST, manifest_of(ONE, endpoint="https://other.example"))
    unknown = (MANIFEST, manifest_of(ONE, endpoint="https://evil.example"))
    for files, fields, code, words in [
        ([unknown], {}, "store_refused", "does not read from https://evil.example"),
        ([elsewhere], {"store_key": "here"}, "store_refused", "is of https://store.example"),
        ([manifest], {"store_key": "lab"}, "store_refused", "no store key called lab"),  # bob's
        ([manifest, ("b.jsonl", b"{}")], {}, "refused", "remove b.jsonl"),
        ([("b.jsonl", b"{}")], {"store_key": "here"}, "refused", "leave the store key out"),
        ([(MANIFEST, b"{}")], {}, "manifest_invalid", "line 1"),
        ([(MANIFEST, manifest[1].replace(b"a.jsonl", b"../a.jsonl"))], {}, "manifest_invalid",
         "path below"),
        ([manifest, ("mixture.json", b"{}")], {}, "mixture_invalid", "mixing track"),
        ([(MANIFEST, manifest_of(ONE, base=f"{tmp_path.as_uri()}/", endpoint=""))], {},
         "store_refused", "does not read from the folder"),
    ]:  # fmt: skip
        failure = refusal(alice, *files, **fields)
        assert (failure.code, failure.fault) == (code, "participant"), failure
        assert words in failure.message
    settings.CRUCIBLE_STORE_FOLDERS = [str(tmp_path / "pool")]
    (tmp_path / "pool" / "x").mkdir(parents=True)
    base = f"{(tmp_path / 'pool' / 'x').as_uri()}/"
    assert submit(alice, (MANIFEST, manifest_of(ONE, base=base, endpoint="")))


def test_presigned_addresses_are_looked_at_before(alice):
    def at(seconds: float) -> str:
        return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(time.time() + seconds))

    def one(host: str, since: float, lasts: int) -> tuple[str, bytes]:
        url = (
            f"{host}/data/p/a.jsonl?X-Amz-Date={at(since)}&X-Amz-Expires={lasts}"
            "&X-Amz-Signature=c4nary"
        )
        return MANIFEST, manifest_of(entry_of("a.jsonl", b"a", url=url))

    for given, words in [
        (one(STORE, -7200, 3600), "has expired"),
        (one(STORE, 3600, 7200), "60 minutes in the future"),
        (one("https://evil.example", 0, 3600), "does not lead to"),
        (one("https://store.example.evil.example", 0, 3600), "does not lead to"),
        (one("http://store.example", 0, 3600), "does not lead to"),
        ((MANIFEST, manifest_of(entry_of("a.jsonl", b"a", url=f"{STORE}/a"))), "not presigned"),
    ]:
        failure = refusal(alice, given)
        assert words in failure.message
        assert "c4nary" not in str(failure)
    assert submit(alice, one(STORE, -60, 3600))
    assert submit(alice, one("https://data.store.example", -60, 3600))


def test_the_organisers_bucket_has_a_prefix_for_each_user(alice, settings, tmp_path):
    own = {"base": "s3://pool/c/", "endpoint": "https://own.example", "access_key_id": "id",
           "secret_access_key": SECRET}  # fmt: skip
    (tmp_path / "own.json").write_text(json.dumps(own))
    settings.CRUCIBLE_STORE_BUCKET, settings.CRUCIBLE_STORES = str(tmp_path / "own.json"), []
    assert store_rules.settings_problems() == []
    for base in ("s3://pool/c/bob/x/", "s3://pool/c/alice-too/", "s3://pool/"):
        failure = refusal(alice, (MANIFEST, manifest_of(ONE, base=base, endpoint=own["endpoint"])))
        assert failure.code == "store_refused", base
    made = submit(
        alice, (MANIFEST, manifest_of(ONE, base="s3://pool/c/alice/x/", endpoint=own["endpoint"]))
    )
    access = references.access_for(made)
    assert access.credentials.secret_access_key == SECRET
    assert access.endpoints == ("https://own.example",)


def test_settings_that_cannot_be_are_said_at_the_start(settings, tmp_path):
    settings.CRUCIBLE_STORES = ["store.example"]
    settings.CRUCIBLE_STORE_NETWORKS = ["ten"]
    settings.CRUCIBLE_STORE_FOLDERS = ["/nowhere-at-all", str(settings.HOME.parent)]
    settings.CRUCIBLE_STORE_BUCKET = str(tmp_path / "absent")
    assert len(store_rules.settings_problems()) == 5


def everything_in_the_database() -> bytes:
    with connection.cursor() as cursor:
        found = []
        for table in connection.introspection.table_names():
            cursor.execute(f'select * from "{table}"')
            found += [repr([bytes(v) if isinstance(v, memoryview) else v for v in row])
                      for row in cursor.fetchall()]  # fmt: skip
    return "\n".join(found).encode()


def test_a_key_is_sealed_and_reaches_a_job_as_a_file_alone(alice, backend, home, api, settings):
    key_of(alice)
    submission = submit(alice, (MANIFEST, manifest_of(ONE)), store_key="lab")
    backend.outcome = lambda key: JobStatus(JobState.RUNNING)
    for _ in range(4):
        pipeline.submission_advance(submission_id=submission.id)
    attempt = Attempt.objects.get()
    spec = backend.specs[attempt.key]
    assert spec.document["inputs"]["dataset"]["uri"].endswith(f"/{MANIFEST}")
    assert SECRET not in json.dumps(spec.document)
    assert spec.access == home / "access" / f"{attempt.key}.json"
    assert spec.access.stat().st_mode & 0o777 == 0o600
    assert (
        spec.access.parent.stat().st_mode & 0o077 == 0 or spec.access.parent == settings.ACCESS_DIR
    )
    access = read_access(spec.access)
    assert access.credentials.secret_access_key == SECRET
    assert SECRET not in repr(access)
    script = script_of(home / "jobs" / attempt.key, spec.module, Rule(), LAUNCHER, spec.access)
    assert str(spec.access) in script
    assert SECRET not in script
    assert SECRET.encode() not in everything_in_the_database()
    assert b"key-id" not in everything_in_the_database()
    assert SECRET not in json.dumps(api(alice, "GET", f"/submissions/{submission.id}")[1])
    backend.outcome = lambda key: JobStatus(
        JobState.FAILED, document=Failure("lost", "x").as_dict()
    )
    pipeline.submission_advance(submission_id=submission.id)
    assert not spec.access.exists()  # the attempt is over
    settings.SECRET_KEY = "another secret of the site, long enough to be one, is in use now"
    with pytest.raises(Failure, match="secret has changed"):
        references.access_for(submission)


def test_a_removed_key_ends_the_submission(alice, bob, backend):
    key = key_of(alice)
    submission = submit(alice, (MANIFEST, manifest_of(ONE)), store_key="lab")
    assert not references.store_key_remove(user=bob, key_id=key.id)
    assert references.store_key_remove(user=alice, key_id=key.id)
    for _ in range(4):
        pipeline.submission_advance(submission_id=submission.id)
    submission.refresh_from_db()
    assert submission.state == "failed"
    assert submission.failure["code"] == "store_refused"
    assert "the store key lab was removed" in submission.failure["message"]


def words(seed: int, count: int) -> str:
    draw = random.Random(seed)
    return " ".join(
        "".join(draw.choices("aeioubcdlmnrst", k=draw.randint(2, 8))) for _ in range(count)
    )


def shards_of(number: int) -> dict[str, bytes]:
    lines = [
        "".join(json.dumps({"text": words(n * 1000 + d, 120)}) + "\n" for d in range(100)).encode()
        for n in range(number)
    ]
    return {f"s/{n}.jsonl.gz": gzip.compress(content) for n, content in enumerate(lines)}


def run_job(backend: LocalBackend, spec: JobSpec) -> JobStatus:
    key = spec.document["key"]
    backend.submit(key, spec)
    end = time.monotonic() + 120
    while (status := backend.status(key)).state == JobState.RUNNING:
        assert time.monotonic() < end, backend.logs(key, 5000)
        assert not secrets_of_processes(backend.root)
        time.sleep(0.1)
    return status


def secrets_of_processes(folder: Path) -> list[Path]:
    """Processes about that folder in whose environment or command line stands the key."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            command = path.read_bytes()
            if str(folder).encode() in command:
                said = command + path.with_name("environ").read_bytes()
                found += [path] if READER[1].encode() in said else []
    return found


def test_real_jobs_read_by_reference_as_if_uploaded(weed, home, tmp_path):
    """In a cage where there can be one: without a network, over the fetcher's socket alone."""
    backend = LocalBackend(home / "jobs", 1, cage=cage_here())
    contents = shards_of(6)
    refer, upload = home / "datasets" / "refer", tmp_path / "upload"
    refer.mkdir()
    upload.mkdir()
    for name, content in contents.items():
        weed.put(f"p/{name}", content)
        (upload / name.replace("/", "-")).write_bytes(content)
    entries = [entry_of(name, content) for name, content in contents.items()]
    (refer / MANIFEST).write_bytes(manifest_of(*entries, endpoint=weed.endpoint))
    access = StoreAccess(
        endpoints=(weed.endpoint,), networks=("127.0.0.0/8",),
        credentials=StoreCredentials(access_key_id=READER[0], secret_access_key=READER[1]),
    )  # fmt: skip
    write_access(home / "access" / "1.json", access)
    scale, figures = load_scale("cpu-300k"), {}
    checking = {"track": "filtering", "scale": scale.name, "max_epochs": 4,
                "bytes_per_token": scale.bytes_per_token}  # fmt: skip
    for stage, module, parameters in [
        ("validate", "submissions.validate", checking | {"tokens": 10_000}),
        ("tokenize", "training_recipes.tokenize", {"scale": scale.name, "seed": 1}),
    ]:
        document = {
            "key": f"1-{stage}-a1", "stage": stage, "parameters": parameters,
            "inputs": {"dataset": {"uri": (refer / MANIFEST).as_uri(), "sha256": ""}},
            "hashes": {"recipe": scale.recipe_sha256},
            "output": (home / "work" / "1" / stage).as_uri(),
        }  # fmt: skip
        status = run_job(backend, JobSpec(module, document, scale.name, home / "access" / "1.json"))
        assert status.state == JobState.SUCCEEDED, backend.logs(document["key"], 5000)
        figures[stage] = status.document["figures"]
    report = check_dataset([upload], tokens_needed=10_000, **checking)
    for field in ("documents", "manifest_sha256", "tokens_estimate", "text_bytes", "bytes"):
        assert figures["validate"][field] == getattr(report, field)
    rows = tokenize_dataset([upload], tmp_path / "rows", scale, 1)
    for field in ("dataset_sha256", "rows_sha256", "tokens"):
        assert figures["tokenize"][field] == getattr(rows, field)
    for path in [path for path in home.rglob("*") if path.is_file()]:
        content = path.read_bytes()  # neither the key nor a shard is where it does not belong
        assert path.parent.name == "access" or READER[1].encode() not in content, path
        assert contents["s/0.jsonl.gz"][:200] not in content, path
