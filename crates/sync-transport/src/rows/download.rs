//! `GET /sync/download?after=&limit=&schema=&include_self=&until=`: a page of rows as they are now, in order of their places.
//!
//! - In: a token that names a device; `after` and `until`, 0 or more; `limit`, 1 to 1000; `schema`; `include_self`, which is
//!   true or anything else. What is empty counts as missing.
//! - Out: 200 with a page, to be repeated from its `next_after` while `has_more`. 401, then 429, 400 and 402; 503 and 500 if
//!   the store does not answer. Without `schema` the page is of all apps, and needs a subscription whichever are exempt: what
//!   was left out of it would be behind the device's cursor for ever.

use axum::extract::{Request, State};
use axum::response::Response;
use sync_protocol::rows::DownloadQuery;
use sync_store::{Download, OwnRows};

use super::{Parameters, admit, ask};
use crate::error::Refusal;
use crate::log_line::Notes;
use crate::metrics::Call;
use crate::reply;
use crate::service::Shared;

pub(crate) async fn download(
    State(service): State<Shared>,
    request: Request,
) -> Result<Response, Refusal> {
    let (parts, _) = request.into_parts();
    let caller = admit(&service, &parts).await?;
    let parameters = Parameters::of(&parts.uri)?;
    let query = DownloadQuery::parse(|name| parameters.first(name))?;
    if let (Some(notes), Some(app)) = (Notes::of(&parts.extensions), &query.schema) {
        notes.app(app);
    }
    if !service.is_active(&caller.user, query.schema.as_ref()).await {
        return Err(Refusal::Inactive);
    }
    let download = Download {
        caller,
        app: query.schema,
        after: query.after,
        until: query.until,
        limit: query.limit,
        own: match query.include_self {
            true => OwnRows::Included,
            false => OwnRows::LeftOut,
        },
        tables: service.rows.clone(),
    };
    let page = ask(&service, Call::Download, service.store.download(download)).await?;
    service.metrics.downloaded(page.changes.len());
    Ok(reply::ok(&page))
}
