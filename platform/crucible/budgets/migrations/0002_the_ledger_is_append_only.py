"""The ledger is append-only in the database itself, whoever is connected."""

from django.db import migrations

CREATE = """
create function budgets_entry_is_append_only() returns trigger language plpgsql as $$
begin
    raise exception 'the ledger is append-only';
end $$;
create trigger budgets_entry_append_only before update or delete on budgets_entry
    for each row execute function budgets_entry_is_append_only();
create trigger budgets_entry_no_truncate before truncate on budgets_entry
    for each statement execute function budgets_entry_is_append_only();
"""
DROP = """
drop trigger budgets_entry_append_only on budgets_entry;
drop trigger budgets_entry_no_truncate on budgets_entry;
drop function budgets_entry_is_append_only();
"""


class Migration(migrations.Migration):
    dependencies = [("budgets", "0001_initial")]
    operations = [migrations.RunSQL(CREATE, DROP)]
