"""Datasets that stay where they lie, and the keys with which they are read."""

from __future__ import annotations

from django.conf import settings
from django.db import models

from crucible.entries.models import Upload


class StoreKey(models.Model):
    """A user's read-only key of one store. The key pair is sealed (`intake.sealing`)."""

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="store_keys"
    )
    name = models.CharField(max_length=40)
    endpoint = models.CharField(max_length=300)
    sealed = models.BinaryField()
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["name"]
        constraints = [
            models.UniqueConstraint(fields=["user", "name"], name="one_store_key_a_name")
        ]

    def __str__(self) -> str:
        return f"{self.name} at {self.endpoint}"


class Reference(models.Model):
    """What a submission's upload refers to: its one file is a manifest."""

    upload = models.OneToOneField(Upload, on_delete=models.CASCADE, related_name="reference")
    # A key that was removed stays a key: jobs are told so, and do not try without one.
    key_name = models.CharField(max_length=40, blank=True)
    base = models.CharField(max_length=1024)
    endpoint = models.CharField(max_length=1024, blank=True)
    shards = models.PositiveIntegerField()
    bytes = models.BigIntegerField()

    def __str__(self) -> str:
        return self.base
