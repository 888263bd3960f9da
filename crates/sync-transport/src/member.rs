//! Who is signed in on a socket, and what it may be told: nothing as long as its spaces may be others than those that it
//! listens to.

use std::future::pending;
use std::mem::replace;
use std::pin::Pin;
use std::time::Duration;

use sync_notify::{Listener, Waiting};
use sync_protocol::{AppId, ClientId, UserId};
use sync_store::StoreError;
use tokio::time::Instant;

use crate::grants::{self, Standing};
use crate::random;
use crate::service::Shared;
use crate::turns::UserTurns;

/// After how long spaces that could not be had are asked for again.
const AGAIN: Duration = Duration::from_secs(2);

type Answer = Result<Standing, StoreError>;
type Asked = Pin<Box<dyn Future<Output = Answer> + Send>>;

/// Who is signed in.
pub(crate) struct Member {
    pub(crate) user: UserId,
    /// The app, if it listens to one only.
    app: Option<AppId>,
    /// Whether the subscription was active when it was last asked for.
    pub(crate) is_active: bool,
    listener: Listener,
    turns: UserTurns,
    expires: Instant,
    spaces: Spaces,
    /// Whether it was told that it is signed in, and so reads what came before by itself.
    is_greeted: bool,
}

/// What is known of the spaces that the user may see.
enum Spaces {
    /// They are asked for.
    Asking(Asked),
    /// They are asked for again, without a reason: until there is an answer the listener has them.
    Checking(Asked),
    /// They could not be had; they are asked for again at this time.
    Unknown(Instant),
    /// The listener has them; they are asked for again at this time.
    Known(Instant),
}

/// What comes for a member.
pub(crate) enum Mail {
    /// It is signed in now: it hears of everything from here on.
    Greeting,
    /// It may see other spaces than so far.
    Moved,
    /// There is news.
    News(Waiting),
    /// It was about the spaces, and there is nothing to say.
    Nothing,
}

impl Member {
    /// A user of an app (or all) with this listener, whose token counts until then. The spaces are asked for at once.
    pub(crate) fn new(
        service: &Shared,
        (user, app): (UserId, Option<AppId>),
        listener: Listener,
        expires: Instant,
    ) -> Self {
        let mut member = Self {
            turns: service.turns.of(&user),
            user,
            app,
            is_active: true,
            listener,
            expires,
            spaces: Spaces::Unknown(Instant::now()),
            is_greeted: false,
        };
        member.ask(service);
        member
    }

    /// It has a new token, and perhaps another name. Whether it has been greeted.
    pub(crate) fn extend(&mut self, client: Option<ClientId>, expires: Instant) -> bool {
        self.listener.set_client(client);
        self.expires = expires;
        self.is_greeted
    }

    /// Whether its token has expired.
    pub(crate) fn is_over(&self) -> bool {
        Instant::now() >= self.expires
    }

    /// When there is something to do by the clock.
    pub(crate) fn deadline(&self) -> Instant {
        match &self.spaces {
            Spaces::Asking(_) | Spaces::Checking(_) => self.expires,
            Spaces::Unknown(at) | Spaces::Known(at) => self.expires.min(*at),
        }
    }

    /// Asks for the spaces, if it is time to.
    pub(crate) fn ask_if_due(&mut self, service: &Shared) {
        match &self.spaces {
            Spaces::Unknown(at) if *at <= Instant::now() => self.ask(service),
            Spaces::Known(at) if *at <= Instant::now() => {
                self.spaces = Spaces::Checking(self.standing(service));
            }
            _ => {}
        }
    }

    /// Asks for the spaces: they may have changed.
    pub(crate) fn ask(&mut self, service: &Shared) {
        self.spaces = Spaces::Asking(self.standing(service));
    }

    fn standing(&self, service: &Shared) -> Asked {
        let who = (&self.user, self.app.as_ref());
        Box::pin(grants::standing(service, &self.turns, who))
    }

    /// What comes next. Dropped while it waits, it has lost nothing.
    pub(crate) async fn next(&mut self) -> Mail {
        match &mut self.spaces {
            Spaces::Asking(answer) => {
                let answer = answer.await;
                self.settle(answer)
            }
            Spaces::Checking(answer) => tokio::select! {
                answer = answer => self.settle(answer),
                waiting = self.listener.waiting() => Mail::News(waiting),
            },
            Spaces::Unknown(_) => pending().await,
            Spaces::Known(_) => Mail::News(self.listener.waiting().await),
        }
    }

    /// The store has said which spaces there are, or that it cannot.
    fn settle(&mut self, answer: Answer) -> Mail {
        let now = Instant::now();
        let Ok(standing) = answer else {
            self.spaces = Spaces::Unknown(now + random::shortened(AGAIN));
            return Mail::Nothing;
        };
        self.is_active = standing.is_active;
        let has_moved = standing.spaces != *self.listener.spaces();
        self.listener.set_spaces(standing.spaces);
        self.spaces = Spaces::Known(now + standing.again);
        if !replace(&mut self.is_greeted, true) {
            return Mail::Greeting;
        }
        if has_moved {
            Mail::Moved
        } else {
            Mail::Nothing
        }
    }
}
