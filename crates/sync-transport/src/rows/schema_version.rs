//! `GET /sync/schema-version`: the version that the operator has given to the tables of rows clients. It changes nothing here.
//!
//! - In: a token that names a device.
//! - Out: 200 `{"schema_version":N}`. 401 and 429.

use axum::extract::{Request, State};
use axum::response::Response;
use serde::Serialize;

use super::admit;
use crate::error::Refusal;
use crate::reply;
use crate::service::Shared;

#[derive(Serialize)]
struct Answer {
    schema_version: i64,
}

pub(crate) async fn schema_version(
    State(service): State<Shared>,
    request: Request,
) -> Result<Response, Refusal> {
    let (parts, _) = request.into_parts();
    admit(&service, &parts).await?;
    let schema_version = service.schema_version;
    Ok(reply::ok(&Answer { schema_version }))
}
