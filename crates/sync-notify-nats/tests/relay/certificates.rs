//! A certificate authority of one's own, and the certificates that it makes.

use openssl::asn1::Asn1Time;
use openssl::bn::BigNum;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use openssl::x509::extension::{BasicConstraints, ExtendedKeyUsage, SubjectAlternativeName};
use openssl::x509::{X509, X509Builder, X509Name};

/// What a key is made of.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    Elliptic,
    Rsa,
}

/// A certificate and its key, in PEM form.
pub(crate) struct Pair {
    pub(crate) certificate: Vec<u8>,
    pub(crate) key: Vec<u8>,
}

/// Signs certificates.
pub(crate) struct Authority {
    kind: Kind,
    key: PKey<Private>,
    certificate: X509,
}

impl Authority {
    pub(crate) fn new(kind: Kind) -> Self {
        let key = key(kind);
        let mut builder = builder("an authority for tests", &key, 1);
        let name = name("an authority for tests");
        builder.set_issuer_name(&name).unwrap();
        let is_authority = BasicConstraints::new().critical().ca().build().unwrap();
        builder.append_extension(is_authority).unwrap();
        builder.sign(&key, MessageDigest::sha256()).unwrap();
        let certificate = builder.build();
        Self {
            kind,
            key,
            certificate,
        }
    }

    /// Its own certificate, in PEM form.
    pub(crate) fn pem(&self) -> Vec<u8> {
        self.certificate.to_pem().unwrap()
    }

    /// Certifies a server at an address.
    pub(crate) fn certify(&self, address: &str) -> Pair {
        let key = key(self.kind);
        let mut builder = builder("a server for tests", &key, 2);
        builder
            .set_issuer_name(self.certificate.subject_name())
            .unwrap();
        let context = builder.x509v3_context(Some(&self.certificate), None);
        let names = SubjectAlternativeName::new()
            .ip(address)
            .build(&context)
            .unwrap();
        builder.append_extension(names).unwrap();
        let usage = ExtendedKeyUsage::new().server_auth().build().unwrap();
        builder.append_extension(usage).unwrap();
        builder.sign(&self.key, MessageDigest::sha256()).unwrap();
        Pair {
            certificate: builder.build().to_pem().unwrap(),
            key: key.private_key_to_pem_pkcs8().unwrap(),
        }
    }
}

fn key(kind: Kind) -> PKey<Private> {
    match kind {
        Kind::Elliptic => {
            let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
            PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap()
        }
        Kind::Rsa => PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap(),
    }
}

fn builder(subject: &str, key: &PKey<Private>, serial: u32) -> X509Builder {
    let mut builder = X509Builder::new().unwrap();
    builder.set_version(2).unwrap();
    let serial = BigNum::from_u32(serial).unwrap().to_asn1_integer().unwrap();
    builder.set_serial_number(&serial).unwrap();
    builder.set_subject_name(&name(subject)).unwrap();
    builder
        .set_not_before(&Asn1Time::days_from_now(0).unwrap())
        .unwrap();
    builder
        .set_not_after(&Asn1Time::days_from_now(1).unwrap())
        .unwrap();
    builder.set_pubkey(key).unwrap();
    builder
}

fn name(text: &str) -> X509Name {
    let mut name = X509Name::builder().unwrap();
    name.append_entry_by_nid(Nid::COMMONNAME, text).unwrap();
    name.build()
}
