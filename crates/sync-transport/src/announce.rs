//! Tells whoever listens, here and on other nodes, what a push has appended. It comes after the commit, and waits for nobody.

use sync_notify::{News, Notice, Writer};
use sync_protocol::AppId;
use sync_store::{Caller, Touched};

use crate::service::Service;

/// A push of this caller has appended rows here.
pub(crate) fn announce(service: &Service, caller: &Caller, app: &AppId, touched: Vec<Touched>) {
    for touched in touched {
        // What goes out to everyone goes out to its writer, too.
        let is_known = !touched.to_everyone && !caller.client.is_empty();
        let news = News::Changes(Notice {
            audience: touched.scope.audience().clone(),
            app: app.clone(),
            tables: touched.tables,
            writer: is_known.then(|| Writer {
                user: caller.user.clone(),
                client: caller.client.clone(),
            }),
            position: touched.position.0,
        });
        service.hub.announce(&news);
        if let Some(relay) = &service.relay {
            relay.publish(news);
        }
    }
}
