//! Hosts that were seen.

use dispatch_core::group::ListedHost;
use dispatch_core::{Host, HostId, HostKey, Sighting};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Statement, by_ids, distinct};
use crate::load::{add_macs, all, one_host};
use crate::{Store, StoreError, rows};

/// The place of a host in the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostKeyset {
    /// When it was first seen, in microseconds.
    pub first_seen: i64,
    /// Which it is.
    pub id: HostId,
}

impl From<&Host> for HostKeyset {
    fn from(host: &Host) -> Self {
        Self { first_seen: host.first_seen.as_microsecond(), id: host.id }
    }
}

/// The statement that lists hosts, in the order in which they were first seen.
pub(super) fn statement(after: Option<&HostKeyset>, limit: u32) -> Statement {
    let mut statement = Statement::new("SELECT * FROM hosts");
    if let Some(key) = after {
        statement.add(" WHERE (first_seen, id) > (?, ?)", [key.first_seen.into(), key.id.to_string().into()]);
    }
    statement.add(" ORDER BY first_seen, id LIMIT ?", [i64::from(limit).into()]);
    statement
}

impl HostKeyset {
    /// The statement that lists hosts.
    #[must_use]
    pub fn statement(after: Option<&Self>, limit: u32) -> Statement {
        statement(after, limit)
    }
}

impl Store {
    /// A page of hosts, in the order in which they were first seen.
    pub async fn hosts(&self, after: Option<&HostKeyset>, limit: u32) -> Result<Vec<Host>, StoreError> {
        let mut transaction = self.engine.begin_to_read().await?;
        let mut hosts = all(&mut transaction, statement(after, limit).query(), rows::host).await?;
        add_macs(&mut transaction, &mut hosts).await?;
        Ok(hosts)
    }

    /// A host.
    pub async fn host(&self, id: HostId) -> Result<Option<Host>, StoreError> {
        let mut transaction = self.engine.begin_to_read().await?;
        one_host(&mut transaction, id).await
    }

    /// The hosts that a person gave this id: none or one.
    pub async fn host_by_key(&self, key: &HostKey) -> Result<Option<Host>, StoreError> {
        let mut statement = Statement::new("SELECT * FROM hosts WHERE");
        statement.add(" host_key = ?", [key.as_str().into()]);
        Ok(self.hosts_of(&[statement]).await?.pop())
    }

    /// The hosts that a listed one may be.
    pub async fn hosts_listed(&self, listed: &ListedHost) -> Result<Vec<Host>, StoreError> {
        let mut statements = Vec::new();
        for mac in &listed.macs {
            let mut statement = Statement::new("SELECT * FROM hosts WHERE id IN (SELECT host FROM host_macs");
            statement.add(" WHERE mac = ?)", [mac.to_string().into()]);
            statements.push(statement);
        }
        for (column, value) in
            [("uuid", listed.uuid.clone()), ("name", listed.boot_name.as_ref().map(ToString::to_string))]
        {
            if let Some(value) = value {
                let mut statement = Statement::new("SELECT * FROM hosts WHERE ");
                statement.add(&format!("{column} = ?"), [value.into()]);
                statements.push(statement);
            }
        }
        let mut hosts = self.hosts_of(&statements).await?;
        hosts.retain(|host| listed.is(host));
        Ok(hosts)
    }

    /// Those of these listed hosts that have not been seen, in the same order.
    pub async fn not_seen<'a>(&self, listed: &[&'a ListedHost]) -> Result<Vec<&'a ListedHost>, StoreError> {
        let mut transaction = self.engine.begin_to_read().await?;
        let mut hosts: Vec<Host> = Vec::new();
        let macs = distinct(listed.iter().flat_map(|listed| listed.macs.iter().map(ToString::to_string)));
        let uuids = distinct(listed.iter().filter_map(|listed| listed.uuid.clone()));
        let names = distinct(listed.iter().filter_map(|listed| Some(listed.boot_name.as_ref()?.to_string())));
        for (select, ids) in [
            ("SELECT * FROM hosts WHERE id IN (SELECT host FROM host_macs WHERE mac IN ({ids}))", macs),
            ("SELECT * FROM hosts WHERE uuid IN ({ids})", uuids),
            ("SELECT * FROM hosts WHERE name IN ({ids})", names),
        ] {
            hosts.append(&mut by_ids(&mut transaction, select, &ids, rows::host).await?);
        }
        hosts.sort_by_key(|host| host.id);
        hosts.dedup_by_key(|host| host.id);
        add_macs(&mut transaction, &mut hosts).await?;
        let is_unseen = |listed: &&&ListedHost| !hosts.iter().any(|host| listed.is(host));
        Ok(listed.iter().filter(is_unseen).copied().collect())
    }

    /// The hosts that one of these requests may be from.
    pub async fn hosts_seen_as(&self, who: &[&Sighting]) -> Result<Vec<Host>, StoreError> {
        let mut transaction = self.engine.begin_to_read().await?;
        let mut hosts: Vec<Host> = Vec::new();
        let addresses = distinct(who.iter().map(|who| who.address.to_string()));
        let names = distinct(who.iter().filter_map(|who| who.name.as_ref().map(ToString::to_string)));
        let macs = distinct(who.iter().filter_map(|who| who.mac.map(|mac| mac.to_string())));
        for (select, ids) in [
            ("SELECT * FROM hosts WHERE address IN ({ids})", addresses),
            ("SELECT * FROM hosts WHERE name IN ({ids})", names),
            ("SELECT * FROM hosts WHERE id IN (SELECT host FROM host_macs WHERE mac IN ({ids}))", macs),
        ] {
            let found = by_ids(&mut transaction, select, &ids, rows::host).await?;
            hosts.extend(
                found
                    .into_iter()
                    .filter(|host| !hosts.iter().any(|known| known.id == host.id))
                    .collect::<Vec<_>>(),
            );
        }
        hosts.sort_by_key(|host| (host.first_seen, host.id));
        add_macs(&mut transaction, &mut hosts).await?;
        Ok(hosts)
    }

    /// The hosts that were seen since then, or run something, at most `limit`.
    pub async fn hosts_since(&self, then: Timestamp, limit: u32) -> Result<Vec<Host>, StoreError> {
        let mut statement = Statement::new("SELECT * FROM hosts WHERE");
        statement.add(
            " last_seen >= ? ORDER BY last_seen DESC LIMIT ?",
            [then.as_microsecond().into(), i64::from(limit).into()],
        );
        let mut busy = Statement::new("SELECT * FROM hosts WHERE id IN");
        busy.add(" (SELECT host FROM runs WHERE active = 1)", []);
        self.hosts_of(&[statement, busy]).await
    }

    async fn hosts_of(&self, statements: &[Statement]) -> Result<Vec<Host>, StoreError> {
        let mut transaction = self.engine.begin_to_read().await?;
        let mut hosts: Vec<Host> = Vec::new();
        let mut known = std::collections::BTreeSet::new();
        for statement in statements {
            let found = all(&mut transaction, statement.query(), rows::host).await?;
            hosts.extend(found.into_iter().filter(|host| known.insert(host.id)));
        }
        add_macs(&mut transaction, &mut hosts).await?;
        Ok(hosts)
    }
}
