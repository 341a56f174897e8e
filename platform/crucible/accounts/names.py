"""Which names people may give themselves when they sign up."""

from django.contrib.auth.validators import ASCIIUsernameValidator

# Letters that only look like others would let one person pass for another on the leaderboard.
SIGN_UP_VALIDATORS = [ASCIIUsernameValidator()]
