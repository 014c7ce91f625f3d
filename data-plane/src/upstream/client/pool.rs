//! The HTTP clients behind the one client: with connections that are kept, and without.
//!
//! A kept connection that is always busy would hide that its name leads elsewhere now, and
//! it has no age. So the client that keeps them is replaced when a name has changed; what
//! is under way ends on the old connections. Many calls to one host go over several clients (`spread`).

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use rustls::ClientConfig;
use secrecy::ExposeSecret;
use tracing::warn;
use url::{Host, Url};

use super::{
    StartError,
    resolver::Resolver,
    spread::{CALLS_PER_CLIENT, Place, Spread},
    tls,
    trace::SeesConnections,
};
use crate::{config, config::Proxy, metrics::Process, upstream::address::Rules};

/// For all of it: name, connection and TLS.
const CONNECT_MAX: Duration = Duration::from_secs(5);
const KEEP_ALIVE: Duration = Duration::from_secs(30);
const IDLE_PER_HOST: usize = CALLS_PER_CLIENT;
/// Below the minute after which balancers commonly drop an idle connection.
const IDLE_MAX: Duration = Duration::from_secs(55);
const HEADERS_MAX: usize = 100;
const H2_HEAD_BYTES_MAX: u32 = 64 << 10;
const H2_KEEP_ALIVE: Duration = Duration::from_secs(20);
const H2_KEEP_ALIVE_MAX: Duration = Duration::from_secs(10);
/// What an upstream may send of one answer before we take it.
const H2_STREAM_WINDOW: u32 = 128 << 10;
/// No limit of its own: slow clients must not use up what the others share.
const H2_CONNECTION_WINDOW: u32 = (1 << 31) - 1;
/// Names whose addresses change with every answer must not cost all connections each time.
/// With the age of an answer it is less than the minute within which a change is to be used.
const REPLACED_AT_MOST_EVERY: Duration = Duration::from_secs(20);

pub(super) struct Pool {
    make: Make,
    /// Whether a literal address may be called.
    rules: Rules,
    keeping: ArcSwap<Spread<reqwest::Client>>,
    /// Each call has a connection of its own.
    unkept: reqwest::Client,
    replaced: Mutex<Replaced>,
}

/// All that a client is made of.
struct Make {
    tls: ClientConfig,
    resolver: Resolver,
    proxy: Option<Proxy>,
}

impl Pool {
    pub(super) fn new(config: config::Upstream, counts: &Process) -> Result<Self, StartError> {
        let config::Upstream {
            allow,
            deny,
            authority,
            proxy,
        } = config;
        let rules = Rules::new(allow, deny);
        let at_connect = match &proxy {
            // What an operator may call through a proxy is not where the proxy may be.
            Some(_) => Rules::default(),
            None => rules.clone(),
        };
        let make = Make {
            tls: tls::config(authority.as_deref())?,
            resolver: Resolver::system(at_connect, counts.stale_addresses.clone()),
            proxy,
        };
        Ok(Self {
            keeping: ArcSwap::new(Spread::new(make.client(IDLE_PER_HOST)?)),
            unkept: make.client(0)?,
            make,
            rules,
            replaced: Mutex::default(),
        })
    }

    /// A literal address is never resolved, so it is checked here.
    pub(super) fn is_denied(&self, to: &Url) -> bool {
        let address = match to.host() {
            Some(Host::Ipv4(address)) => address.into(),
            Some(Host::Ipv6(address)) => address.into(),
            Some(Host::Domain(_)) | None => return false,
        };
        !self.rules.allow(address)
    }

    pub(super) fn unkept(&self) -> &reqwest::Client {
        &self.unkept
    }

    /// With connections that lead where names lead, give or take a minute, and that have room for
    /// this call. The place is to be held until its answer is over.
    pub(super) fn keeping(&self, to: &Url) -> (reqwest::Client, Place<reqwest::Client>) {
        let host = self.make.proxy.as_ref().map_or(to, Proxy::place).host();
        let make = || match self.make.client(IDLE_PER_HOST) {
            Ok(client) => Some(client),
            Err(error) => {
                warn!("connections that are there stay in use: {error}");
                None
            }
        };
        if let Some(Host::Domain(name)) = host {
            let changes = self.make.resolver.keep_fresh(name);
            if self.is_to_be_replaced(changes)
                && let Some(client) = make()
            {
                self.keeping.store(Spread::new(client));
            }
        }
        self.keeping.load_full().take(to, make)
    }

    fn is_to_be_replaced(&self, changes: u64) -> bool {
        let mut replaced = self.replaced.lock().unwrap_or_else(PoisonError::into_inner);
        replaced.is_due(changes, Instant::now())
    }
}

impl Make {
    fn client(&self, idle_per_host: usize) -> Result<reqwest::Client, reqwest::Error> {
        let builder = reqwest::Client::builder()
            .connect_timeout(CONNECT_MAX)
            .connector_layer(SeesConnections)
            .dns_resolver(self.resolver.clone())
            .tls_backend_preconfigured(self.tls.clone())
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .tcp_nodelay(true)
            .tcp_keepalive(KEEP_ALIVE)
            .pool_max_idle_per_host(idle_per_host)
            .pool_idle_timeout(IDLE_MAX)
            .http1_max_headers(HEADERS_MAX)
            .http2_max_header_list_size(H2_HEAD_BYTES_MAX)
            .http2_initial_stream_window_size(H2_STREAM_WINDOW)
            .http2_initial_connection_window_size(H2_CONNECTION_WINDOW)
            .http2_keep_alive_interval(H2_KEEP_ALIVE)
            .http2_keep_alive_timeout(H2_KEEP_ALIVE_MAX);
        match &self.proxy {
            Some(proxy) => builder.proxy(reqwest::Proxy::all(proxy.url().expose_secret())?),
            None => builder,
        }
        .build()
    }
}

/// Up to which change of names the client has been replaced, and when.
#[derive(Debug, Default)]
struct Replaced {
    changes: u64,
    at: Option<Instant>,
}

impl Replaced {
    fn is_due(&mut self, changes: u64, now: Instant) -> bool {
        let is_too_soon = |at| now.saturating_duration_since(at) < REPLACED_AT_MOST_EVERY;
        if changes == self.changes || self.at.is_some_and(is_too_soon) {
            return false;
        }
        *self = Self {
            changes,
            at: Some(now),
        };
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_replaced_once_for_a_change_and_not_too_often() {
        let (mut replaced, start) = (Replaced::default(), Instant::now());
        assert!(!replaced.is_due(0, start));
        assert!(replaced.is_due(1, start));
        let soon = start + REPLACED_AT_MOST_EVERY - Duration::from_millis(1);
        assert!(!replaced.is_due(1, soon) && !replaced.is_due(3, soon));
        let later = start + REPLACED_AT_MOST_EVERY;
        assert!(replaced.is_due(3, later));
        assert!(!replaced.is_due(3, later + REPLACED_AT_MOST_EVERY));
    }
}
