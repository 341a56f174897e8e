"""The history is append-only in the database itself, whoever is connected."""

from django.db import migrations

CREATE = """
create function entries_event_is_append_only() returns trigger language plpgsql as $$
begin
    raise exception 'events are append-only';
end $$;
create trigger entries_event_append_only before update or delete on entries_event
    for each row execute function entries_event_is_append_only();
create trigger entries_event_no_truncate before truncate on entries_event
    for each statement execute function entries_event_is_append_only();
"""
DROP = """
drop trigger entries_event_append_only on entries_event;
drop trigger entries_event_no_truncate on entries_event;
drop function entries_event_is_append_only();
"""


class Migration(migrations.Migration):
    dependencies = [("entries", "0001_initial")]
    operations = [migrations.RunSQL(CREATE, DROP)]
