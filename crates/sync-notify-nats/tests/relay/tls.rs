//! TLS with a server of one's own authority.

use std::fs;

use sync_notify_nats::Config;
use tempfile::TempDir;
use test_nats::Server;

use crate::certificates::{Authority, Kind, Pair};
use crate::support::{Node, two_nodes};

/// A server with this certificate, and the folder that holds it.
fn server_with(pair: &Pair) -> (Server, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let (certificate, key) = (
        folder.path().join("cert.pem"),
        folder.path().join("key.pem"),
    );
    fs::write(&certificate, &pair.certificate).unwrap();
    fs::write(&key, &pair.key).unwrap();
    let (certificate, key) = (certificate.to_str().unwrap(), key.to_str().unwrap());
    let server = Server::start(&["--tls", "--tlscert", certificate, "--tlskey", key]).unwrap();
    (server, folder)
}

fn config(scheme: &str, server: &Server, authority: Option<&Authority>) -> Config {
    Config {
        authorities: authority.map(Authority::pem),
        ..Config::new(format!("{scheme}://{}", server.address()))
    }
}

/// A node that never gets up.
async fn is_refused(config: Config) {
    let node = Node::new(config);
    node.has_failed(3).await;
    assert!(!node.figures().is_up);
    assert_eq!(node.figures().received, 0);
}

#[tokio::test]
async fn nodes_hear_each_other_over_tls_with_both_kinds_of_keys() {
    for kind in [Kind::Elliptic, Kind::Rsa] {
        let authority = Authority::new(kind);
        let (mut server, _folder) = server_with(&authority.certify("127.0.0.1"));
        let (here, there) = two_nodes(|| config("tls", &server, Some(&authority))).await;
        server.kill().unwrap();
        here.is_down().await;
        server.restart().unwrap();
        here.reaches(&there, "again").await;
    }
}

#[tokio::test]
async fn a_server_that_demands_tls_gets_it_and_is_verified_whatever_the_url_says() {
    let authority = Authority::new(Kind::Elliptic);
    let (server, _folder) = server_with(&authority.certify("127.0.0.1"));
    two_nodes(|| config("nats", &server, Some(&authority))).await;
    is_refused(config("nats", &server, None)).await;
}

#[tokio::test]
async fn a_server_of_an_unknown_authority_is_refused() {
    let authority = Authority::new(Kind::Elliptic);
    let (server, _folder) = server_with(&authority.certify("127.0.0.1"));
    is_refused(config("tls", &server, None)).await;
    let other = Authority::new(Kind::Elliptic);
    is_refused(config("tls", &server, Some(&other))).await;
}

#[tokio::test]
async fn a_certificate_for_another_address_is_refused() {
    let authority = Authority::new(Kind::Elliptic);
    let (server, _folder) = server_with(&authority.certify("127.0.0.2"));
    is_refused(config("tls", &server, Some(&authority))).await;
}

#[tokio::test]
async fn a_server_without_tls_is_refused_where_the_url_demands_it() {
    let server = Server::start(&[]).unwrap();
    is_refused(config("tls", &server, None)).await;
}
