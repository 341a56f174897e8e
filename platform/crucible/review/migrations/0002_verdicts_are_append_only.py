"""Verdicts and appeals are append-only in the database itself, whoever is connected."""

from django.db import migrations

FUNCTION = """
create function review_is_append_only() returns trigger language plpgsql as $$
begin
    raise exception 'verdicts and appeals are append-only';
end $$;
"""
TRIGGERS = """
create trigger {table}_append_only before update or delete on {table}
    for each row execute function review_is_append_only();
create trigger {table}_no_truncate before truncate on {table}
    for each statement execute function review_is_append_only();
"""
DROP = """
drop trigger {table}_append_only on {table};
drop trigger {table}_no_truncate on {table};
"""
TABLES = ("review_verdict", "review_appeal")


class Migration(migrations.Migration):
    dependencies = [("review", "0001_initial")]
    operations = [
        migrations.RunSQL(FUNCTION, "drop function review_is_append_only();"),
        *[migrations.RunSQL(TRIGGERS.format(table=t), DROP.format(table=t)) for t in TABLES],
    ]
