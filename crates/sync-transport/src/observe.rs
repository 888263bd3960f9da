//! The outermost layer: gives a request its id, and watches it from its head to the last byte of its answer.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, SizeHint};

use crate::log_line::{LogLine, Notes};
use crate::request_id::{self, X_REQUEST_ID};
use crate::service::Shared;

pub(crate) async fn observe(
    State(service): State<Shared>,
    mut request: Request,
    next: Next,
) -> Response {
    let id = request_id::of(request.headers(), service.now());
    let notes = Arc::new(Notes::default());
    let mut line = LogLine::begin(&service.metrics, &request, id.clone(), Arc::clone(&notes));
    request.extensions_mut().insert(Arc::clone(&notes));
    let arriving = Watched::new(&notes, Notes::received, None);
    let mut response = next.run(request.map(|body| arriving.around(body))).await;
    response.headers_mut().insert(X_REQUEST_ID, id);
    line.answered(&response);
    let leaving = Watched::new(&notes, Notes::sent, Some(line));
    response.map(|body| leaving.around(body))
}

/// A body whose bytes are counted as they pass. It holds the log line of its request, which is written when the body is
/// dropped: at its end, or when nobody takes it any more.
struct Watched {
    body: Body,
    notes: Arc<Notes>,
    count: fn(&Notes, usize),
    _line: Option<LogLine>,
}

impl Watched {
    fn new(notes: &Arc<Notes>, count: fn(&Notes, usize), line: Option<LogLine>) -> Self {
        Self {
            body: Body::empty(),
            notes: Arc::clone(notes),
            count,
            _line: line,
        }
    }

    fn around(mut self, body: Body) -> Body {
        self.body = body;
        Body::new(self)
    }
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if let Poll::Ready(Some(Ok(frame))) = &polled {
            let bytes = frame.data_ref().map_or(0, Bytes::len);
            (self.count)(&self.notes, bytes);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
