//! TLS as the NATS client speaks it: the protocol by rustls, which that client insists on, every key, cipher and signature
//! by OpenSSL.

use std::sync::Arc;

use async_nats::rustls::pki_types::CertificateDer;
use async_nats::rustls::pki_types::pem::PemObject;
use async_nats::rustls::{ClientConfig, RootCertStore};

use crate::NatsError;

/// A client that verifies servers against the machine's authorities and further ones. Given to every connection, also
/// where no TLS is asked for: the server may ask for it.
pub(crate) fn client(authorities: Option<&[u8]>) -> Result<ClientConfig, NatsError> {
    let mut roots = RootCertStore::empty();
    let machine = rustls_native_certs::load_native_certs();
    for error in machine.errors {
        tracing::warn!(%error, "authorities of this machine cannot be read");
    }
    roots.add_parsable_certificates(machine.certs);
    if let Some(pem) = authorities {
        add(pem, &mut roots).map_err(|reason| NatsError::Authorities { reason })?;
    }
    let provider = Arc::new(rustls_openssl::default_provider());
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth())
}

fn add(pem: &[u8], roots: &mut RootCertStore) -> Result<(), String> {
    let before = roots.len();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|error| error.to_string())?;
        roots.add(certificate).map_err(|error| error.to_string())?;
    }
    if roots.len() == before {
        return Err("there is none".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tls_can_be_set_up_without_further_authorities() {
        assert!(client(None).is_ok());
    }

    #[test]
    fn authorities_that_are_no_certificates_are_refused() {
        let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        for pem in ["", "no PEM at all", broken] {
            let outcome = client(Some(pem.as_bytes()));
            assert!(
                matches!(outcome, Err(NatsError::Authorities { .. })),
                "{pem}"
            );
        }
    }
}
