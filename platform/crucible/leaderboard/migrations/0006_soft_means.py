from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("leaderboard", "0005_baselines"),
    ]

    operations = [
        migrations.AddField(
            model_name="score",
            name="soft",
            field=models.JSONField(
                blank=True,
                help_text="Soft means by their figure: value, stderr, interval. Null: not computed.",
                null=True,
            ),
        ),
    ]
