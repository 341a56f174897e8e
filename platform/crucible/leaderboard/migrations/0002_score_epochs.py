from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("leaderboard", "0001_initial"),
    ]

    operations = [
        migrations.AddField(
            model_name="score",
            name="tokens",
            field=models.BigIntegerField(blank=True, help_text="In whole rows.", null=True),
        ),
        migrations.AddField(
            model_name="score",
            name="unique_tokens",
            field=models.BigIntegerField(
                blank=True, help_text="Without documents that repeat an earlier one.", null=True
            ),
        ),
        migrations.AddField(
            model_name="score",
            name="epochs",
            field=models.FloatField(
                blank=True,
                help_text="How often training read it, or the most repeated source of a mixture.",
                null=True,
            ),
        ),
    ]
