"""Django's settings. Every knob is an environment variable, listed in docs/settings.md.

Closed by default: no debug, local hosts only, everything in `CRUCIBLE_HOME`.
"""

from __future__ import annotations

import json
import os
import re
import secrets
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import dj_database_url

from crucible.paths import REPOSITORY, home, read_secret, write_secret
from submissions.most_data import MULTIPLE
from training_recipes.scales import canonical_name

# Statistics multiply small matrices: threads of their own would only get in the workers' way. Must
# be said before numpy is imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

BASE_DIR = REPOSITORY
HOME = home()


def _words(name: str, default: str) -> list[str]:
    return os.environ.get(name, default).replace(",", " ").split()


# -- the installation ------------------------------------------------------------------------------
DEBUG = os.environ.get("CRUCIBLE_DEBUG") == "1"
SECRET_KEY = (
    os.environ.get("CRUCIBLE_SECRET_KEY")
    or read_secret(HOME / "secret.key")
    or write_secret(HOME / "secret.key", secrets.token_urlsafe(50))
)
# This machine itself always: the supervisor asks for /health/ there.
ALLOWED_HOSTS = ["127.0.0.1", "localhost", "[::1]", *_words("CRUCIBLE_HOSTS", "")]
CSRF_TRUSTED_ORIGINS = _words("CRUCIBLE_ORIGINS", "")
# Behind TLS (an https:// origin is named): cookies and redirects insist on it.
BEHIND_TLS = any(origin.startswith("https://") for origin in CSRF_TRUSTED_ORIGINS)

# -- Crucible's own --------------------------------------------------------------------------------
CRUCIBLE_SCALES = [canonical_name(name) for name in _words("CRUCIBLE_SCALES", "smoke")]
CRUCIBLE_SUITE = os.environ.get("CRUCIBLE_SUITE", "full")
# The larger scale of which boards that rank by CORE tell what may come out there; empty: none.
CRUCIBLE_TARGET_SCALE = os.environ.get("CRUCIBLE_TARGET_SCALE", "7b-1x")
if CRUCIBLE_TARGET_SCALE:
    CRUCIBLE_TARGET_SCALE = canonical_name(CRUCIBLE_TARGET_SCALE)
CRUCIBLE_EVAL_DATA = os.environ.get("CRUCIBLE_EVAL_DATA", "")
# A folder that `crucible profile` wrote of the pool, with which every dataset is compared.
CRUCIBLE_POOL_PROFILE = os.environ.get("CRUCIBLE_POOL_PROFILE", "")
CRUCIBLE_LOCAL_SLOTS = int(os.environ.get("CRUCIBLE_LOCAL_SLOTS") or os.cpu_count() or 1)
CRUCIBLE_BACKENDS = os.environ.get("CRUCIBLE_BACKENDS", "")
# Whether jobs on this machine are put into a cage: auto (where it works), required, off.
CRUCIBLE_CAGE = os.environ.get("CRUCIBLE_CAGE", "auto")
CRUCIBLE_RAY_TOKEN = os.environ.get("CRUCIBLE_RAY_TOKEN", "")
CRUCIBLE_MAX_UPLOAD = int(os.environ.get("CRUCIBLE_MAX_UPLOAD", 50 * 1024**3))  # bytes a dataset
# Caps of each user: open uploads, shards of one dataset, bytes of all datasets on disk.
CRUCIBLE_MAX_OPEN_UPLOADS = int(os.environ.get("CRUCIBLE_MAX_OPEN_UPLOADS", 10))
CRUCIBLE_MAX_SHARDS = int(os.environ.get("CRUCIBLE_MAX_SHARDS", 10_000))
CRUCIBLE_MAX_STORED = int(os.environ.get("CRUCIBLE_MAX_STORED", 10 * CRUCIBLE_MAX_UPLOAD))
# How often a dataset may hold what one training at its scale reads.
CRUCIBLE_MAX_MULTIPLE = int(os.environ.get("CRUCIBLE_MAX_MULTIPLE", MULTIPLE))
CRUCIBLE_STAGE_ATTEMPTS = 3
# Seconds without a sign of life after which a running job is stopped and started again.
CRUCIBLE_SILENCE = float(os.environ.get("CRUCIBLE_SILENCE", 2 * 3600))
# Seconds that a submission may wait for a slot before /health/pipeline/ turns red.
CRUCIBLE_ALERT_WAITING = float(os.environ.get("CRUCIBLE_ALERT_WAITING", 24 * 3600))
# Days after which each of these is removed; 0: never (privacy/retention.py).
CRUCIBLE_KEEP_DAYS = {
    "uploads": float(os.environ.get("CRUCIBLE_KEEP_UPLOADS", 14)),
    "datasets": float(os.environ.get("CRUCIBLE_KEEP_DATASETS", 0)),
    "work": float(os.environ.get("CRUCIBLE_KEEP_WORK", 0)),
    "logs": float(os.environ.get("CRUCIBLE_KEEP_LOGS", 0)),
    "rows": float(os.environ.get("CRUCIBLE_KEEP_ROWS", 0)),
}
# How many days an API token lasts at most, and how many requests a minute it may send.
CRUCIBLE_TOKEN_DAYS = float(os.environ.get("CRUCIBLE_TOKEN_DAYS", 90))
CRUCIBLE_TOKEN_REQUESTS = int(os.environ.get("CRUCIBLE_TOKEN_REQUESTS", 600))
# Who may make an account: open (everybody), invitation (who was given a link), closed (nobody).
CRUCIBLE_SIGN_UP = os.environ.get("CRUCIBLE_SIGN_UP", "invitation")
# Proxies, as addresses or networks, whose X-Forwarded-For says where a request comes from.
CRUCIBLE_PROXIES = _words("CRUCIBLE_PROXIES", "")
# Networks that are not public and to which webhooks may go all the same.
CRUCIBLE_WEBHOOK_NETWORKS = _words("CRUCIBLE_WEBHOOK_NETWORKS", "")
# Datasets by reference: which stores that speak S3 jobs may read from, which networks of theirs are
# not public, below which folders, and a file about a bucket of the organiser's own.
CRUCIBLE_STORES = _words("CRUCIBLE_STORES", "")
CRUCIBLE_STORE_NETWORKS = _words("CRUCIBLE_STORE_NETWORKS", "")
CRUCIBLE_STORE_FOLDERS = _words("CRUCIBLE_STORE_FOLDERS", "")
CRUCIBLE_STORE_BUCKET = os.environ.get("CRUCIBLE_STORE_BUCKET", "")
# The site's address as mails and webhooks name it.
CRUCIBLE_SITE = (
    CSRF_TRUSTED_ORIGINS[0].rstrip("/")
    if CSRF_TRUSTED_ORIGINS
    else f"http://127.0.0.1:{os.environ.get('CRUCIBLE_PORT', '8000')}"
)

DATASETS_DIR = HOME / "datasets"  # what participants hand in, by upload
WORK_DIR = HOME / "work"  # what stages make, kept between attempts
RECORDS_DIR = HOME / "records"  # the single answers behind each score, by their hash
PROFILES_DIR = HOME / "profiles"  # sketch and sample of each profiled dataset, by submission
JOBS_DIR = HOME / "jobs"  # one directory an attempt: the job contract
ACCESS_DIR = HOME / "access"  # what a live attempt may read by reference; no cage shows it

# -- Django ----------------------------------------------------------------------------------------
INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django_htmx",
    "ninja",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    # In the order in which they may import each other: tests/test_architecture.py.
    "crucible.roles",
    "crucible.accounts",
    "crucible.entries",
    "crucible.budgets",
    "crucible.notifications",
    "crucible.leaderboard",
    "crucible.profiles",
    "crucible.review",
    "crucible.intake",
    "crucible.jobs",
    "crucible.boards",
    "crucible.privacy",
    "crucible.pages",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    # Pads with random bytes: how long an answer is tells nothing of the secrets in it (BREACH).
    "django.middleware.gzip.GZipMiddleware",
    "csp.middleware.CSPMiddleware",
    "crucible.no_nul.no_nul",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "crucible.intake.bodies.BodyLimit",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "crucible.accounts.middleware.private_pages",
    "allauth.account.middleware.AccountMiddleware",
]
ROOT_URLCONF = "crucible.urls"
WSGI_APPLICATION = "crucible.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [Path(__file__).parent / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "crucible.accounts.context.signing_up",
                "crucible.pages.references.by_reference",
            ],
            "builtins": ["django.templatetags.static", "crucible.filters"],
        },
    }
]

# Without DATABASE_URL the server that `make up` started: it leaves its address in a private file.
DATABASE_URL = os.environ.get("DATABASE_URL") or read_secret(HOME / "database.url") or ""
DATABASES = {
    "default": dj_database_url.parse(
        DATABASE_URL or "postgresql://postgres@127.0.0.1:5432/postgres",
        conn_max_age=60,
        conn_health_checks=True,
    )
}
if DATABASES["default"]["ENGINE"] != "django.db.backends.postgresql":
    raise RuntimeError("DATABASE_URL must name a PostgreSQL database: postgresql://…")
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

CACHES = {
    # One for all processes, because attempts to sign in are counted in it.
    "default": {
        "BACKEND": "django.core.cache.backends.db.DatabaseCache",
        "LOCATION": "site_cache",
        "OPTIONS": {"MAX_ENTRIES": 100_000},
    },
    # Each process has its own: what is quicker to work out again than to ask the database for.
    "process": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"},
    # One for all processes: who made a board made it for the others too (boards/kept.py).
    "boards": {
        "BACKEND": "django.core.cache.backends.db.DatabaseCache",
        "LOCATION": "leaderboard_kept",
        "OPTIONS": {"MAX_ENTRIES": 10_000},  # one is the answers of a submission, 20 kB
    },
}

AUTH_PASSWORD_VALIDATORS = [
    *(
        {"NAME": f"django.contrib.auth.password_validation.{name}"}
        for name in (
            "UserAttributeSimilarityValidator",
            "MinimumLengthValidator",
            "CommonPasswordValidator",
            "NumericPasswordValidator",
        )
    ),
    {"NAME": "crucible.accounts.passwords.TokensEnd"},
]
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "submissions"
LOGOUT_REDIRECT_URL = "home"

LANGUAGE_CODE = "en-gb"
TIME_ZONE = "UTC"
USE_TZ = True

STATIC_URL = "static/"
STATICFILES_DIRS = [Path(__file__).parent / "static"]
# Served from the source folders: no collecting step that could be forgotten, no stale copy.
WHITENOISE_USE_FINDERS = True
FILE_UPLOAD_TEMP_DIR = HOME / "uploads"
FILE_UPLOAD_TEMP_DIR.mkdir(parents=True, exist_ok=True)

# -- mail: none without a server -------------------------------------------------------------------
_smtp = urlsplit(os.environ.get("CRUCIBLE_SMTP_URL", ""))
EMAIL_HOST = _smtp.hostname or ""
EMAIL_USE_SSL = _smtp.scheme == "smtps"
EMAIL_USE_TLS = _smtp.scheme == "smtp" and bool(_smtp.username)  # no password in the clear
EMAIL_PORT = _smtp.port or (465 if EMAIL_USE_SSL else 587 if EMAIL_USE_TLS else 25)
EMAIL_HOST_USER, EMAIL_HOST_PASSWORD = unquote(_smtp.username or ""), unquote(_smtp.password or "")
EMAIL_TIMEOUT = 10
DEFAULT_FROM_EMAIL = os.environ.get("CRUCIBLE_MAIL_FROM", f"crucible@{EMAIL_HOST or 'localhost'}")

# -- sign-in: django-allauth, whose own settings begin with ACCOUNT_, MFA_ and SOCIALACCOUNT_ ----
if CRUCIBLE_SIGN_UP not in ("open", "invitation", "closed"):
    raise RuntimeError("CRUCIBLE_SIGN_UP must be open, invitation or closed")
ACCOUNT_ADAPTER = "crucible.accounts.adapters.AccountAdapter"
ACCOUNT_LOGIN_METHODS = {"username"}
# Without a mail server an invitation is enough; where everybody may come, an organiser confirms.
_confirmed = bool(EMAIL_HOST) or CRUCIBLE_SIGN_UP == "open"
ACCOUNT_EMAIL_VERIFICATION = "mandatory" if _confirmed else "none"
ACCOUNT_SIGNUP_FIELDS = [
    "username*",
    "email*" if _confirmed else "email",
    "password1*",
    "password2*",
]
ACCOUNT_USERNAME_VALIDATORS = "crucible.accounts.names.SIGN_UP_VALIDATORS"
ACCOUNT_CHANGE_EMAIL = True  # one address each; a new one replaces it once it is confirmed
ACCOUNT_EMAIL_SUBJECT_PREFIX = "Crucible: "
ACCOUNT_EMAIL_UNKNOWN_ACCOUNTS = False  # no mail to strangers because somebody typed their address
ACCOUNT_EMAIL_NOTIFICATIONS = True
ACCOUNT_SESSION_REMEMBER = True
ACCOUNT_REAUTHENTICATION_METHODS = ("password", "mfa")
# By address, room for a class behind one; by account, five wrong passwords in five minutes.
ACCOUNT_RATE_LIMITS = {
    "login": "60/m/ip",
    "login_failed": "30/m/ip,5/5m/key",
    "signup": "30/m/ip",
}
MFA_ADAPTER = "crucible.accounts.adapters.SecondFactorAdapter"
MFA_TOTP_ISSUER = "Crucible"
MFA_TOTP_TOLERANCE = 1  # steps of 30 s, for clocks that are a little wrong
MFA_ALLOW_UNVERIFIED_EMAIL = True  # accounts without an address may have a second factor too
# Other sites' accounts, each configured in a JSON file (docs/organiser.md); none without it.
SOCIALACCOUNT_PROVIDERS: dict[str, Any] = {}
if _social := os.environ.get("CRUCIBLE_SOCIAL"):
    try:
        SOCIALACCOUNT_PROVIDERS |= json.loads(Path(_social).read_text())
    except (OSError, ValueError, TypeError) as error:
        raise RuntimeError(f"CRUCIBLE_SOCIAL names no JSON object in a file: {error}") from None
if SOCIALACCOUNT_PROVIDERS:
    INSTALLED_APPS += [
        "allauth.socialaccount",
        *(f"allauth.socialaccount.providers.{name}" for name in SOCIALACCOUNT_PROVIDERS),
    ]

# -- security --------------------------------------------------------------------------------------
SECURE_CONTENT_TYPE_NOSNIFF = True
X_FRAME_OPTIONS = "DENY"
SECURE_REFERRER_POLICY = "same-origin"
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_SSL_REDIRECT = BEHIND_TLS
SECURE_REDIRECT_EXEMPT = ["^health/"]
if BEHIND_TLS:
    SECURE_HSTS_SECONDS = 31536000
    SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = True
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'none'"],
        "script-src": ["'self'"],
        "style-src": ["'self'"],
        "img-src": ["'self'", "data:"],
        "connect-src": ["'self'"],
        # A form that signs in with another site's account ends at that site.
        "form-action": ["'self'", *(["https:"] if SOCIALACCOUNT_PROVIDERS else [])],
        "base-uri": ["'none'"],
        "frame-ancestors": ["'none'"],
    }
}

# -- Celery: hints only (docs/decisions/0004-celery-carries-hints.md) ------------------------------
CELERY_BROKER_URL = os.environ.get("CELERY_BROKER_URL") or re.sub(
    r"^postgres(ql)?://", "pgmq://", DATABASE_URL
)
CELERY_VISIBILITY_TIMEOUT = (
    60  # seconds until a broker gives an unacknowledged hint to another worker
)
CELERY_TASK_TIME_LIMIT = 30  # must stay below it; crucible.jobs.checks refuses to start otherwise
CELERY_TASK_SOFT_TIME_LIMIT = 20
CELERY_BROKER_TRANSPORT_OPTIONS: dict[str, Any] = {"visibility_timeout": CELERY_VISIBILITY_TIMEOUT}
if CELERY_BROKER_URL.startswith("pgmq://"):
    CELERY_BROKER_URL, _, _query = CELERY_BROKER_URL.partition("?")
    CELERY_BROKER_TRANSPORT_OPTIONS |= {
        "init_extension": False,  # the schema is installed as SQL, by `manage.py prepare`
        "wait_time_seconds": 1,
        # Between two looks of a worker whose places are taken: two hints in this time are the most
        # that it gets through. One that is idle waits in the database, see above.
        "polling_interval": 0.02,
        "pool_size": 2,
        "pool_timeout": 3,
    }
    if _query:  # ?sslmode=require and the like, which the address of a queue cannot hold
        CELERY_BROKER_TRANSPORT_OPTIONS["conn_string"] = (
            f"postgresql{CELERY_BROKER_URL.removeprefix('pgmq')}?{_query}"
        )
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_MAX_RETRIES = None
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_TASK_IGNORE_RESULT = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_ENABLE_REMOTE_CONTROL = False
CELERY_WORKER_SEND_TASK_EVENTS = False
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_TASK_DEFAULT_QUEUE = "hints"

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"()": "crucible.logs.JsonLine"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["console"], "level": "INFO"},
    "loggers": {
        name: {"level": "WARNING"}
        # Celery's: two lines for every hint, about no submission.
        for name in ("httpx", "pgmq", "celery.worker.strategy", "celery.app.trace")
    },
}
