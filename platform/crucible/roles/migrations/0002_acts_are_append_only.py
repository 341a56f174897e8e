"""Acts are append-only in the database itself, whoever is connected."""

from django.db import migrations

CREATE = """
create function roles_act_is_append_only() returns trigger language plpgsql as $$
begin
    raise exception 'acts are append-only';
end $$;
create trigger roles_act_append_only before update or delete on roles_act
    for each row execute function roles_act_is_append_only();
create trigger roles_act_no_truncate before truncate on roles_act
    for each statement execute function roles_act_is_append_only();
"""
DROP = """
drop trigger roles_act_append_only on roles_act;
drop trigger roles_act_no_truncate on roles_act;
drop function roles_act_is_append_only();
"""


class Migration(migrations.Migration):
    dependencies = [("roles", "0001_initial")]
    operations = [migrations.RunSQL(CREATE, DROP)]
