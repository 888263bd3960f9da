//! TLS to the database, as the URL asks for it.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use openssl::asn1::Asn1Time;
use openssl::bn::BigNum;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::PKey;
use openssl::x509::extension::{BasicConstraints, SubjectAlternativeName};
use openssl::x509::{X509, X509NameBuilder};
use sync_store::StoreError;
use sync_store_postgres::{Config, PostgresStore, migrate};
use test_postgres::{Instance, Options};

use crate::support::{Database, connect};

/// Writes a key and a certificate of its own for `localhost` where only the database's user reads them.
fn certify(folder: &Path) -> PathBuf {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    let key = PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap();
    let mut name = X509NameBuilder::new().unwrap();
    name.append_entry_by_text("CN", "localhost").unwrap();
    let name = name.build();
    let mut certificate = X509::builder().unwrap();
    certificate.set_version(2).unwrap();
    let number = BigNum::from_u32(1).unwrap().to_asn1_integer().unwrap();
    certificate.set_serial_number(&number).unwrap();
    certificate.set_subject_name(&name).unwrap();
    certificate.set_issuer_name(&name).unwrap();
    certificate.set_pubkey(&key).unwrap();
    certificate
        .set_not_before(&Asn1Time::days_from_now(0).unwrap())
        .unwrap();
    certificate
        .set_not_after(&Asn1Time::days_from_now(2).unwrap())
        .unwrap();
    let issuer = BasicConstraints::new().critical().ca().build().unwrap();
    certificate.append_extension(issuer).unwrap();
    let names = SubjectAlternativeName::new()
        .dns("localhost")
        .build(&certificate.x509v3_context(None, None))
        .unwrap();
    certificate.append_extension(names).unwrap();
    certificate.sign(&key, MessageDigest::sha256()).unwrap();
    let owner = fs::metadata(folder).unwrap();
    for (file, text) in [
        ("server.key", key.private_key_to_pem_pkcs8().unwrap()),
        ("server.crt", certificate.build().to_pem().unwrap()),
    ] {
        let path = folder.join(file);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        chown(&path, Some(owner.uid()), Some(owner.gid())).unwrap();
    }
    folder.join("server.crt")
}

/// A database that offers TLS, and its certificate.
async fn with_tls() -> (Instance, PathBuf) {
    let instance = Instance::start(Options::default()).unwrap();
    let certificate = certify(instance.folder());
    let folder = instance.folder().display();
    let raw = connect(&instance.url()).await;
    for setting in [
        format!("ssl_cert_file = '{folder}/server.crt'"),
        format!("ssl_key_file = '{folder}/server.key'"),
        "ssl = on".to_owned(),
    ] {
        raw.batch_execute(&format!("alter system set {setting}"))
            .await
            .unwrap();
    }
    raw.batch_execute("select pg_reload_conf()").await.unwrap();
    while !is_offered(&instance.url()).await {
        tokio::task::yield_now().await;
    }
    (instance, certificate)
}

async fn is_offered(url: &str) -> bool {
    PostgresStore::connect(Config::new(format!("{url}?sslmode=require")))
        .await
        .is_err_and(|error| error.to_string().contains("migrate"))
}

#[tokio::test]
async fn a_certificate_is_checked_as_the_url_says() {
    let (instance, certificate) = with_tls().await;
    let url = instance.url();
    migrate(&Config::new(url.clone())).await.unwrap();
    let root = format!("sslrootcert={}", certificate.display());
    let by_name = url.replace("127.0.0.1", "localhost");
    let mut outcomes = Vec::new();
    for url in [
        format!("{url}?sslmode=disable"),
        format!("{url}?sslmode=prefer"),
        format!("{url}?sslmode=require"),
        format!("{url}?sslmode=require&{root}"),
        format!("{url}?sslmode=verify-ca&{root}"),
        format!("{by_name}?sslmode=verify-full&{root}"),
        // Nobody knows this issuer; this is not the server's name.
        format!("{url}?sslmode=verify-ca"),
        format!("{url}?sslmode=verify-full&{root}"),
    ] {
        outcomes.push(PostgresStore::connect(Config::new(url)).await.is_ok());
    }
    assert_eq!(outcomes, [true, true, true, true, true, true, false, false]);
}

#[tokio::test]
async fn a_database_without_tls_is_refused_where_the_url_asks_for_it() {
    let database = Database::migrated().await;
    for mode in ["require", "verify-ca", "verify-full"] {
        let config = Config::new(format!("{}?sslmode={mode}", database.url()));
        let error = PostgresStore::connect(config).await.unwrap_err();
        assert!(
            matches!(&error, StoreError::Fault(text) if text.contains("TLS")),
            "{error}"
        );
    }
}
