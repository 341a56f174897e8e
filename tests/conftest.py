"""Fixtures that tests of several packages use."""

from tests.s3_bucket import bucket, endpoint
from tests.weed import weed

__all__ = ["bucket", "endpoint", "weed"]
