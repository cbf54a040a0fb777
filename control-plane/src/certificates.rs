//! Keys and certificates of one control plane: a private certificate authority, the API server's certificate, client
//! certificates, and the key that signs ServiceAccount tokens.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose,
};

pub(crate) const CA: &str = "ca.crt";
/// For processes that join the control plane later. The folder is private.
const CA_KEY: &str = "ca.key";
pub(crate) const SERVER_CERTIFICATE: &str = "kube-apiserver.crt";
pub(crate) const SERVER_KEY: &str = "kube-apiserver.key";
pub(crate) const SERVICE_ACCOUNT_KEY: &str = "service-account.key";
pub(crate) const SERVICE_ACCOUNT_PUBLIC_KEY: &str = "service-account.pub";

/// Names of the API server. The address is that of its Service, the first of the service range.
const SERVER_NAMES: [&str; 6] = [
    "127.0.0.1",
    "localhost",
    "10.0.0.1",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
];

/// Certificate and its private key, both as PEM.
pub(crate) struct Identity {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

/// Certificate authority that only this API server trusts.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: String,
}

impl Authority {
    pub(crate) fn new() -> anyhow::Result<Self> {
        let (params, key) = (Self::params(), KeyPair::generate()?);
        let certificate = params.self_signed(&key)?.pem();
        Ok(Self { issuer: Issuer::new(params, key), certificate })
    }

    fn params() -> CertificateParams {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        params.distinguished_name = common_name("control-plane");
        params
    }

    /// Returns the authority's own certificate as PEM.
    pub(crate) fn certificate(&self) -> &str {
        &self.certificate
    }

    /// Issues a client certificate: to the API server its common name is the user, its organizations are the groups.
    pub(crate) fn client(&self, user: &str, groups: &[&str]) -> anyhow::Result<Identity> {
        let mut params = CertificateParams::default();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let mut name = common_name(user);
        // A name can hold only one value of each type, but the type of an organization can be written in two ways.
        let types = [DnType::OrganizationName, DnType::CustomDnType(vec![2, 5, 4, 10])];
        if groups.len() > types.len() {
            bail!("a client certificate can name at most {} groups, not {}", types.len(), groups.join(", "));
        }
        for (kind, group) in types.into_iter().zip(groups) {
            name.push(kind, *group);
        }
        params.distinguished_name = name;
        self.issue(params)
    }

    fn server(&self) -> anyhow::Result<Identity> {
        let mut params = CertificateParams::new(SERVER_NAMES.map(str::to_owned))?;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.distinguished_name = common_name("kube-apiserver");
        self.issue(params)
    }

    fn issue(&self, mut params: CertificateParams) -> anyhow::Result<Identity> {
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer).context("cannot issue a certificate")?;
        Ok(Identity { certificate: certificate.pem(), key: key.serialize_pem() })
    }

    /// Returns a self-contained kubeconfig. It is JSON, which is valid YAML, so that names need no escaping.
    pub(crate) fn kubeconfig(&self, url: &str, user: &str, identity: &Identity) -> String {
        let base64 = |text: &str| BASE64.encode(text);
        let config = serde_json::json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{
                "name": "control-plane",
                "cluster": {"server": url, "certificate-authority-data": base64(&self.certificate)},
            }],
            "users": [{
                "name": user,
                "user": {
                    "client-certificate-data": base64(&identity.certificate),
                    "client-key-data": base64(&identity.key),
                },
            }],
            "contexts": [{"name": "control-plane", "context": {"cluster": "control-plane", "user": user}}],
            "current-context": "control-plane",
        });
        format!("{config:#}\n")
    }
}

/// Writes the files that the programs read.
pub(crate) fn write(authority: &Authority, folder: &Path) -> anyhow::Result<()> {
    let server = authority.server()?;
    let service_accounts = KeyPair::generate()?;
    fs::write(folder.join(CA), authority.certificate())?;
    fs::write(folder.join(CA_KEY), authority.issuer.key().serialize_pem())?;
    fs::write(folder.join(SERVER_CERTIFICATE), server.certificate)?;
    fs::write(folder.join(SERVER_KEY), server.key)?;
    fs::write(folder.join(SERVICE_ACCOUNT_KEY), service_accounts.serialize_pem())?;
    fs::write(folder.join(SERVICE_ACCOUNT_PUBLIC_KEY), service_accounts.public_key_pem())?;
    Ok(())
}

/// Reads the authority that [`write`] has stored in a folder.
pub(crate) fn read(folder: &Path) -> anyhow::Result<Authority> {
    let certificate = fs::read_to_string(folder.join(CA))?;
    let key = KeyPair::from_pem(&fs::read_to_string(folder.join(CA_KEY))?)?;
    Ok(Authority { issuer: Issuer::new(Authority::params(), key), certificate })
}

fn common_name(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}
