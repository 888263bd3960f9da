//! What `dev` says when it is ready: lines to copy.

use std::net::SocketAddr;
use std::path::{Path, absolute};

/// Where the data is, and how to sign in, push, pull and follow at this address.
pub(crate) fn development(address: SocketAddr, database: &Path) -> String {
    let database = absolute(database).unwrap_or_else(|_| database.to_owned());
    let database = database.display();
    let server = format!("http://{address}");
    format!(
        r#"
A sync server for development listens on {server}
Its data is in {database}; whoever asks is signed in. Try it in another terminal:

  # sign in
  TOKEN=$(curl -s {server}/dummy-signin -d '{{"user":"anna","password":"any","device":"phone"}}' | sed 's/.*"token":"\([^"]*\)".*/\1/')

  # push from the phone
  curl -s {server}/sync/todo -H "Authorization: Bearer $TOKEN" -H 'X-Client-Id: phone' \
    -d '{{"since":"","changes":[{{"table":"tasks","id":"task-1","op":"insert","data":{{"title":"Buy milk"}}}}]}}'

  # pull on the laptop
  curl -s "{server}/sync/todo/pull?collection=tasks&since=1970-01-01T00:00:00Z" \
    -H "Authorization: Bearer $TOKEN" -H 'X-Client-Id: laptop'

  # follow on the tablet: push again in another terminal, and it is here (Ctrl-C ends it)
  curl -sN "{server}/sync/todo/stream?collections=tasks" \
    -H "Authorization: Bearer $TOKEN" -H 'X-Client-Id: tablet'

"#
    )
}
