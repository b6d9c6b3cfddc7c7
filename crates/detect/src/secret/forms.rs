//! How tokens begin, as their issuers document it, and what follows.

use std::sync::LazyLock;

/// The characters of a token after its prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Body {
    /// Letters and digits.
    Alnum,
    /// Hexadecimal digits.
    Hex,
    /// Letters, digits, `_` and `-`.
    Url,
    /// Letters, digits, `_`, `-`, `.`, `+`, `/`, `~`.
    Any,
    /// Capital letters and digits.
    Upper,
}

impl Body {
    const fn has(self, byte: u8) -> bool {
        match self {
            Self::Alnum => byte.is_ascii_alphanumeric(),
            Self::Hex => byte.is_ascii_hexdigit(),
            Self::Url => byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'),
            Self::Any => crate::runs::is_token(byte),
            Self::Upper => byte.is_ascii_uppercase() || byte.is_ascii_digit(),
        }
    }
}

/// One form of token.
#[derive(Debug)]
pub(super) struct Form {
    pub(super) class: &'static str,
    pub(super) prefix: &'static str,
    body: Body,
    /// Characters after the prefix, at least; and at most.
    least: usize,
    most: usize,
    /// Hundredths of a bit for each character.
    pub(super) entropy: u32,
    pub(super) has_crc: bool,
}

impl Form {
    /// The length of the token that a text begins with.
    pub(super) fn length(&self, text: &str) -> Option<usize> {
        let (prefix, rest) = text.split_at_checked(self.prefix.len())?;
        // What ends in a sign is no word by chance, so it is known in any case.
        let is_marked = self.prefix.ends_with(['_', '-']);
        let is_alike = is_marked && prefix.eq_ignore_ascii_case(self.prefix);
        if prefix != self.prefix && !is_alike {
            return None;
        }
        let length = rest.bytes().take_while(|byte| self.body.has(*byte)).count();
        // The end of a sentence is not the token's.
        let length = rest.get(..length)?.trim_end_matches(['.', '/', '-']).len();
        // What goes on in the same manner is something else, unless it may be as long as it likes.
        (length >= self.least && length <= self.most).then_some(self.prefix.len() + length)
    }
}

/// The forms that begin with each byte: most bytes begin none.
static BY_FIRST: LazyLock<Vec<Vec<&'static Form>>> = LazyLock::new(|| {
    let mut all = vec![Vec::new(); 256];
    for form in FORMS {
        let first = form.prefix.bytes().next().unwrap_or(0);
        let other = if first.is_ascii_lowercase() {
            first.to_ascii_uppercase()
        } else {
            first.to_ascii_lowercase()
        };
        for byte in [first, other] {
            if let Some(forms) = all.get_mut(usize::from(byte)) {
                forms.push(form);
            }
        }
    }
    all
});

/// The form and the length of the token that a text begins with.
pub(super) fn token_of(text: &str) -> Option<(&'static Form, usize)> {
    let forms = BY_FIRST.get(usize::from(text.bytes().next()?))?;
    forms.iter().find_map(|form| Some((*form, form.length(text)?)))
}

const fn form(
    class: &'static str,
    prefix: &'static str,
    body: Body,
    least: usize,
    most: usize,
) -> Form {
    Form { class, prefix, body, least, most, entropy: 200, has_crc: false }
}

const fn checked(class: &'static str, prefix: &'static str) -> Form {
    Form { has_crc: true, ..form(class, prefix, Body::Alnum, 36, 40) }
}

use Body as B;

/// Every form. Longer prefixes before shorter ones that they begin with.
#[rustfmt::skip]
const FORMS: &[Form] = &[
    form("aws_access_key", "AKIA", B::Upper, 16, 16),
    form("aws_access_key", "ASIA", B::Upper, 16, 16),
    form("aws_access_key", "ABIA", B::Upper, 16, 16),
    form("aws_access_key", "ACCA", B::Upper, 16, 16),
    form("aws_access_key", "A3T", B::Upper, 17, 17),
    form("aws_bedrock_key", "ABSK", B::Any, 100, 300),
    form("aws_bedrock_key", "bedrock-api-key-", B::Any, 20, 4096),
    checked("github_token", "ghp_"), checked("github_token", "gho_"),
    checked("github_token", "ghu_"), checked("github_token", "ghs_"),
    checked("github_token", "ghr_"),
    form("github_token", "github_pat_", B::Url, 60, 120),
    form("gitlab_token", "glpat-", B::Any, 20, 330),
    form("gitlab_token", "gldt-", B::Url, 20, 64),
    form("gitlab_token", "glrt-", B::Any, 20, 330),
    form("gitlab_token", "glcbt-", B::Url, 20, 64),
    form("gitlab_token", "glptt-", B::Hex, 40, 40),
    form("gitlab_token", "glft-", B::Url, 20, 64),
    form("gitlab_token", "glffct-", B::Url, 20, 64),
    form("gitlab_token", "glimt-", B::Url, 20, 64),
    form("gitlab_token", "glagent-", B::Url, 40, 80),
    form("gitlab_token", "gloas-", B::Url, 40, 80),
    form("gitlab_token", "glsoat-", B::Url, 20, 64),
    form("gitlab_token", "GR1348941", B::Url, 20, 40),
    form("slack_token", "xoxb-", B::Url, 18, 200),
    form("slack_token", "xoxp-", B::Url, 18, 200),
    form("slack_token", "xoxe-", B::Url, 18, 250),
    form("slack_token", "xoxe.xox", B::Any, 18, 250),
    form("slack_token", "xoxa-", B::Url, 11, 200),
    form("slack_token", "xoxr-", B::Url, 11, 200),
    form("slack_token", "xoxo-", B::Url, 11, 200),
    form("slack_token", "xoxs-", B::Url, 11, 200),
    form("slack_token", "xapp-", B::Url, 12, 250),
    form("slack_webhook", "hooks.slack.com/services/", B::Any, 24, 80),
    form("slack_webhook", "hooks.slack.com/workflows/", B::Any, 24, 80),
    form("slack_webhook", "hooks.slack.com/triggers/", B::Any, 24, 80),
    form("stripe_key", "sk_live_", B::Alnum, 10, 200),
    form("stripe_key", "sk_test_", B::Alnum, 10, 200),
    form("stripe_key", "sk_prod_", B::Alnum, 10, 200),
    form("stripe_key", "rk_live_", B::Alnum, 10, 200),
    form("stripe_key", "rk_test_", B::Alnum, 10, 200),
    form("stripe_key", "rk_prod_", B::Alnum, 10, 200),
    form("stripe_key", "whsec_", B::Any, 24, 80),
    form("anthropic_key", "sk-ant-", B::Url, 60, 200),
    form("openai_key", "sk-proj-", B::Url, 40, 250),
    form("openai_key", "sk-svcacct-", B::Url, 40, 250),
    form("openai_key", "sk-admin-", B::Url, 40, 250),
    form("openai_key", "sk-", B::Alnum, 32, 64),
    form("google_api_key", "AIza", B::Url, 35, 35),
    form("google_oauth", "GOCSPX-", B::Url, 20, 40),
    form("google_oauth", "ya29.", B::Any, 30, 400),
    form("huggingface_token", "hf_", B::Alnum, 34, 40),
    form("huggingface_token", "api_org_", B::Alnum, 34, 40),
    form("npm_token", "npm_", B::Alnum, 36, 36),
    form("pypi_token", "pypi-", B::Url, 50, 1000),
    form("rubygems_token", "rubygems_", B::Hex, 48, 48),
    form("digitalocean_token", "dop_v1_", B::Hex, 64, 64),
    form("digitalocean_token", "doo_v1_", B::Hex, 64, 64),
    form("digitalocean_token", "dor_v1_", B::Hex, 64, 64),
    form("databricks_token", "dapi", B::Hex, 32, 34),
    form("sendgrid_key", "SG.", B::Any, 60, 72),
    form("sendinblue_key", "xkeysib-", B::Url, 70, 90),
    form("shopify_token", "shpat_", B::Hex, 32, 32),
    form("shopify_token", "shpca_", B::Hex, 32, 32),
    form("shopify_token", "shppa_", B::Hex, 32, 32),
    form("shopify_token", "shpss_", B::Hex, 32, 32),
    form("twilio_key", "SK", B::Hex, 32, 32),
    form("hashicorp_token", "hvs.", B::Url, 20, 200),
    form("hashicorp_token", "hvb.", B::Url, 100, 400),
    form("hashicorp_token", "s.", B::Alnum, 24, 24),
    form("grafana_token", "glsa_", B::Url, 40, 44), form("grafana_token", "glc_", B::Any, 32, 400),
    form("grafana_token", "eyJrIjoi", B::Any, 70, 400),
    form("dynatrace_token", "dt0c01.", B::Any, 80, 100),
    form("postman_key", "PMAK-", B::Url, 50, 64),
    form("pulumi_token", "pul-", B::Hex, 40, 40),
    form("prefect_token", "pnu_", B::Alnum, 36, 36),
    form("planetscale_token", "pscale_tkn_", B::Any, 32, 64),
    form("planetscale_token", "pscale_oauth_", B::Any, 32, 64),
    form("planetscale_token", "pscale_pw_", B::Any, 32, 64),
    form("doppler_token", "dp.pt.", B::Alnum, 43, 44),
    form("duffel_token", "duffel_test_", B::Url, 43, 43),
    form("duffel_token", "duffel_live_", B::Url, 43, 43),
    form("linear_key", "lin_api_", B::Alnum, 40, 40),
    form("notion_token", "ntn_", B::Alnum, 40, 50),
    form("notion_token", "secret_", B::Alnum, 43, 43),
    form("perplexity_key", "pplx-", B::Alnum, 48, 48),
    form("readme_key", "rdme_", B::Alnum, 70, 70),
    form("sentry_token", "sntryu_", B::Hex, 64, 64),
    form("sentry_token", "sntrys_", B::Any, 60, 500),
    form("settlemint_token", "sm_aat_", B::Alnum, 16, 16),
    form("settlemint_token", "sm_pat_", B::Alnum, 16, 16),
    form("settlemint_token", "sm_sat_", B::Alnum, 16, 16),
    form("shippo_token", "shippo_live_", B::Hex, 40, 40),
    form("shippo_token", "shippo_test_", B::Hex, 40, 40),
    form("sourcegraph_token", "sgp_", B::Url, 40, 60),
    form("square_token", "EAAA", B::Url, 22, 70), form("square_token", "sq0atp-", B::Url, 20, 60),
    form("square_token", "sq0csp-", B::Url, 20, 60),
    form("facebook_token", "EAAC", B::Alnum, 90, 400),
    form("facebook_token", "EAAM", B::Alnum, 90, 400),
    form("flutterwave_key", "FLWSECK_TEST-", B::Url, 12, 40),
    form("flutterwave_key", "FLWPUBK_TEST-", B::Url, 30, 40),
    form("fly_token", "fo1_", B::Url, 43, 43), form("fly_token", "fm1a_", B::Any, 100, 4096),
    form("fly_token", "fm1r_", B::Any, 100, 4096), form("fly_token", "fm2_", B::Any, 100, 4096),
    form("frameio_token", "fio-u-", B::Url, 60, 70),
    form("easypost_key", "EZAK", B::Alnum, 54, 54), form("easypost_key", "EZTK", B::Alnum, 54, 54),
    form("heroku_key", "HRKU-", B::Url, 50, 70),
    form("infracost_key", "ico-", B::Alnum, 32, 32),
    form("intra42_secret", "s-s4t2ud-", B::Hex, 64, 64),
    form("intra42_secret", "s-s4t2af-", B::Hex, 64, 64),
    form("octopus_key", "API-", B::Upper, 26, 26),
    form("onepassword_key", "A3-", B::Any, 34, 44),
    form("onepassword_token", "ops_eyJ", B::Any, 200, 4096),
    form("openshift_token", "sha256~", B::Url, 43, 43),
    form("scalingo_token", "tk-us-", B::Url, 48, 48),
    form("typeform_token", "tfp_", B::Any, 50, 64),
    form("adobe_secret", "p8e-", B::Alnum, 32, 32),
    form("age_key", "AGE-SECRET-KEY-1", B::Upper, 58, 58),
    form("airtable_token", "pat", B::Any, 79, 79),
    form("alibaba_key", "LTAI", B::Alnum, 16, 24),
    form("artifactory_key", "AKCp", B::Alnum, 69, 69),
    form("artifactory_key", "cmVmd", B::Alnum, 59, 59),
    form("authress_key", "sc_", B::Any, 60, 300), form("authress_key", "ext_", B::Any, 60, 300),
    form("authress_key", "scauth_", B::Any, 60, 300),
    form("authress_key", "authress_", B::Any, 60, 300),
    form("clickhouse_key", "4b1d", B::Alnum, 38, 38),
    form("clojars_token", "CLOJARS_", B::Alnum, 60, 60),
    form("cloudflare_key", "v1.0-", B::Url, 150, 200),
    form("defined_token", "dnkey-", B::Url, 60, 90),
    form("harness_key", "pat.", B::Any, 60, 80), form("harness_key", "sat.", B::Any, 60, 80),
    form("newrelic_key", "NRAK-", B::Url, 20, 40), form("newrelic_key", "NRII-", B::Url, 20, 40),
    form("newrelic_key", "NRJS-", B::Hex, 19, 19),
    form("mailgun_key", "key-", B::Hex, 32, 32), form("mailgun_key", "pubkey-", B::Hex, 32, 32),
    form("mapbox_token", "pk.eyJ", B::Any, 40, 200),
    form("mapbox_token", "sk.eyJ", B::Any, 40, 200),
    form("plaid_token", "access-sandbox-", B::Url, 36, 36),
    form("plaid_token", "access-development-", B::Url, 36, 36),
    form("plaid_token", "access-production-", B::Url, 36, 36),
    form("yandex_key", "AQVN", B::Url, 35, 38), form("yandex_key", "YCA", B::Url, 36, 38),
    form("jwt", "eyJ", B::Any, 34, 4096),
    form("jwt_in_base64", "ZXlK", B::Any, 40, 4096),
    form("atlassian_token", "ATATT3", B::Any, 60, 300),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_form_hides_behind_one_that_it_begins_with() {
        for (at, form) in FORMS.iter().enumerate() {
            assert!(form.least <= form.most && form.prefix.len() + form.least >= 16, "{form:?}");
            for before in FORMS.iter().take(at) {
                let is_hidden = form.prefix.starts_with(before.prefix)
                    && before.body == form.body
                    && before.least <= form.least;
                assert!(!is_hidden || before.class == form.class, "{before:?} hides {form:?}");
            }
        }
    }
}
