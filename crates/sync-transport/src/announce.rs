//! Tells whoever listens, here and on other nodes, what a push has appended. It comes after the commit, and waits for nobody.

use sync_notify::{Hub, News, Notice, Relay, Writer};
use sync_protocol::AppId;
use sync_store::{Caller, Touched};

use crate::service::Service;

/// A push of this caller has appended rows here.
pub(crate) fn announce(service: &Service, caller: &Caller, app: &AppId, touched: Vec<Touched>) {
    let relay = service.relay.as_deref();
    announce_touched(&service.hub, relay, Some(caller), app, touched);
}

/// Rows were appended here, by a caller if one asked for it.
pub(crate) fn announce_touched(
    hub: &Hub,
    relay: Option<&dyn Relay>,
    caller: Option<&Caller>,
    app: &AppId,
    touched: Vec<Touched>,
) {
    for touched in touched {
        // What goes out to everyone goes out to its writer, too.
        let known = caller.filter(|caller| !touched.to_everyone && !caller.client.is_empty());
        let news = News::Changes(Notice {
            audience: touched.scope.audience().clone(),
            app: app.clone(),
            tables: touched.tables,
            writer: known.map(|caller| Writer {
                user: caller.user.clone(),
                client: caller.client.clone(),
            }),
            position: touched.position.0,
        });
        hub.announce(&news);
        if let Some(relay) = relay {
            relay.publish(news);
        }
    }
}
