//! Servers that the network's own name servers know (RFC 6763 §11): multicast ends where the VLAN ends, a search
//! domain does not.

use std::time::Duration;

use crate::clock::Clock;
use crate::dns::{DnsError, Kind, Name};
use crate::resolve::{LookUpError, Names};

use super::service::{Gathered, SERVICE};
use super::{Finder, Finding};

/// When to stop asking further questions.
const LOOK: Duration = Duration::from_secs(5);
/// As many search domains as the C library once looked at.
const MAX_DOMAINS: usize = 6;

/// Asks the name servers for servers in each search domain.
pub(super) struct DnsSd<'a> {
    pub(super) names: &'a Names,
    pub(super) clock: &'a dyn Clock,
}

impl Finder for DnsSd<'_> {
    fn find(&self) -> Finding {
        let mut domains = self.names.search_domains();
        // That one is not a name server's (RFC 6762 §3).
        domains.retain(|domain| !domain.trim_end_matches('.').eq_ignore_ascii_case("local"));
        domains.truncate(MAX_DOMAINS);
        if domains.is_empty() {
            return Finding::nothing("no search domain in /etc/resolv.conf");
        }
        let until = self.clock.now().saturating_add(LOOK);
        let is_over = || self.clock.now() >= until;
        let ask = |name: &Name, kind| {
            let answer = self.names.ask_for(name, kind)?;
            Ok(answer.records.into_iter().chain(answer.more).collect())
        };
        let mut finding = Finding::default();
        let mut whys = Vec::new();
        for domain in domains {
            let Some(mut gathered) = Gathered::new(&domain) else { continue };
            let why = look(&mut gathered, ask, is_over).err();
            let servers = gathered.servers(&format!("DNS-SD of {domain}"));
            whys.extend(servers.nothing(|| match why {
                None | Some(LookUpError::Dns(DnsError::NoSuchName)) => {
                    format!("no {SERVICE} in the search domain {domain}")
                }
                Some(why) => format!("no {SERVICE}.{domain}: {why}"),
            }));
            finding.found.extend(servers.found);
            finding.warnings.extend(servers.warnings);
            if why == Some(LookUpError::Silence) || is_over() {
                // The other domains would be asked of the same servers.
                break;
            }
        }
        if finding.found.is_empty() {
            finding.nothing = Some(whys.join(", "));
        }
        finding
    }
}

/// Asks until nothing is missing any more, each question once. An instance about which nothing can be had does not
/// hide the others.
fn look(
    gathered: &mut Gathered,
    mut ask: impl FnMut(&Name, Kind) -> Result<Vec<crate::dns::Record>, LookUpError>,
    is_over: impl Fn() -> bool,
) -> Result<(), LookUpError> {
    let mut asked = Vec::new();
    let mut why = Ok(());
    while let Some(question) = gathered.missing().into_iter().find(|question| !asked.contains(question)) {
        if is_over() {
            return Err(LookUpError::Silence);
        }
        match ask(&question.0, question.1) {
            Ok(records) => gathered.take(records),
            Err(LookUpError::Silence) => return Err(LookUpError::Silence),
            Err(error) => why = Err(error),
        }
        asked.push(question);
    }
    why
}

#[cfg(test)]
#[path = "dns_sd_tests.rs"]
mod tests;
