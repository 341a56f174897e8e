"""What each role gets from each address, page of the admin and action.

The things asked for belong to a seventh user. `staff` may enter the admin and has no role; nobody
here has two. The words are those of `Walk` in test_roles_everywhere.py. A page of the admin with a
form is shown and then sent: `read` says that it is shown but not taken. None of the six has a
second factor. Who opens a link to another's account may use it; signing up needs an invitation.
"""

TABLE = """
# Pages.
#                                                                 visitor  partici. staff    reviewer organis. admin.
GET /                                                             yes      yes      yes      yes      yes      yes
GET /docs/                                                        yes      yes      yes      yes      yes      yes
GET /docs/<slug:name>/                                            yes      yes      yes      yes      yes      yes
GET /leaderboard/                                                 yes      yes      yes      yes      yes      yes
GET /leaderboard/<str:track>/<str:scale>/                         yes      yes      yes      yes      yes      yes
GET /leaderboard/<str:track>/<str:scale>/board.csv                yes      yes      yes      yes      yes      yes
GET /leaderboard/<str:track>/<str:scale>/board.json               yes      yes      yes      yes      yes      yes
GET /leaderboard/<str:track>/<str:scale>/feed.atom                yes      yes      yes      yes      yes      yes
GET /baselines/<int:baseline_id>/                                 yes      yes      yes      yes      yes      yes
GET /submissions/<int:submission_id>/badge.svg                    hidden   hidden   hidden   hidden   hidden   hidden
GET /submissions/<int:submission_id>/cite.bib                     hidden   hidden   hidden   hidden   hidden   hidden
GET /transfer/<str:source>/<str:target>/                          yes      yes      yes      yes      yes      yes
GET /transfer/<str:source>/<str:target>/next/                     login    no       no       no       yes      yes
GET /compare/                                                     yes      yes      yes      yes      yes      yes
GET /compare/data/                                                yes      yes      yes      yes      yes      yes
GET /submissions/                                                 login    yes      yes      yes      yes      yes
POST /submissions/new/                                            login    yes      no       no       no       yes
GET /submissions/new/                                             login    yes      no       no       no       yes
GET /submissions/<int:submission_id>/                             hidden   hidden   hidden   yes      yes      yes
POST /submissions/<int:submission_id>/cancel/                     login    hidden   hidden   no       yes      yes
POST /submissions/<int:submission_id>/retry/                      login    hidden   hidden   no       yes      yes
GET /submissions/<int:submission_id>/log/<str:stage>/             login    hidden   hidden   yes      yes      yes
GET /submissions/<int:submission_id>/contamination/               hidden   hidden   hidden   yes      yes      yes
GET /submissions/<int:submission_id>/contamination/<int:item_id>/ login    hidden   hidden   yes      yes      yes
GET /submissions/<int:submission_id>/data/                        hidden   hidden   hidden   yes      yes      yes
GET /submissions/<int:submission_id>/data/texts/                  hidden   hidden   hidden   yes      yes      yes
POST /submissions/<int:submission_id>/data/sample/                login    hidden   hidden   nothing  nothing  nothing
POST /submissions/<int:submission_id>/appeal/                     login    hidden   hidden   nothing  nothing  nothing
GET /account/                                                     login    yes      yes      yes      yes      yes
POST /account/tokens/                                             login    yes      yes      yes      yes      yes
POST /account/tokens/<int:token_id>/revoke/                       login    nothing  nothing  nothing  nothing  nothing
POST /account/mail/                                               login    yes      yes      yes      yes      yes
POST /account/webhooks/                                           login    yes      yes      yes      yes      yes
POST /account/webhooks/<uuid:webhook_id>/remove/                  login    nothing  nothing  nothing  nothing  nothing
GET /account/stores/                                              login    hidden   hidden   hidden   hidden   hidden
POST /account/stores/                                             login    hidden   hidden   hidden   hidden   hidden
POST /account/stores/<int:key_id>/remove/                         login    nothing  nothing  nothing  nothing  nothing
GET /submissions/by-reference/                                    login    hidden   hidden   hidden   hidden   hidden
POST /submissions/by-reference/                                   login    hidden   hidden   hidden   hidden   hidden
GET /budget/                                                      login    yes      yes      yes      yes      yes
POST /login/                                                      nothing  nothing  nothing  nothing  nothing  nothing
GET /login/                                                       yes      yes      yes      yes      yes      yes
POST /logout/                                                     nothing  nothing  nothing  nothing  nothing  nothing
GET /invitation/<str:secret>/                                     yes      yes      yes      yes      yes      yes
GET /logout/                                                      yes      yes      yes      yes      yes      yes
GET /inactive/                                                    yes      yes      yes      yes      yes      yes
GET /signup/                                                      yes      yes      yes      yes      yes      yes
POST /signup/                                                     nothing  nothing  nothing  nothing  nothing  nothing
GET /reauthenticate/                                              login    yes      yes      yes      yes      yes
POST /reauthenticate/                                             login    nothing  nothing  nothing  nothing  nothing
GET /reauthenticate/code/                                         login    no       no       no       no       no
POST /reauthenticate/code/                                        login    no       no       no       no       no
GET /reauthenticate/code/confirm/                                 login    no       no       no       no       no
POST /reauthenticate/code/confirm/                                login    no       no       no       no       no
GET /email/                                                       login    yes      yes      yes      yes      yes
POST /email/                                                      login    yes      yes      yes      yes      yes
GET /confirm-email/                                               yes      yes      yes      yes      yes      yes
GET /password/change/                                             login    yes      yes      yes      yes      yes
POST /password/change/                                            login    nothing  nothing  nothing  nothing  nothing
GET /password/set/                                                login    yes      yes      yes      yes      yes
POST /password/set/                                               login    nothing  nothing  nothing  nothing  nothing
GET /password/reset/                                              yes      yes      yes      yes      yes      yes
POST /password/reset/                                             nothing  nothing  nothing  nothing  nothing  nothing
GET /login/code/confirm/                                          yes      yes      yes      yes      yes      yes
POST /login/code/confirm/                                         nothing  nothing  nothing  nothing  nothing  nothing
GET /confirm-email/<key>/                                         yes      yes      yes      yes      yes      yes
POST /confirm-email/<key>/                                        yes      yes      yes      yes      yes      yes
GET /password/reset/key/done/                                     yes      yes      yes      yes      yes      yes
GET /password/reset/key/<uidb36>-<key>/                           yes      yes      yes      yes      yes      yes
POST /password/reset/key/<uidb36>-<key>/                          nothing  nothing  nothing  nothing  nothing  nothing
GET /password/reset/done/                                         yes      yes      yes      yes      yes      yes
GET /2fa/                                                         login    yes      yes      yes      yes      yes
GET /2fa/authenticate/                                            yes      yes      yes      yes      yes      yes
POST /2fa/authenticate/                                           nothing  nothing  nothing  nothing  nothing  nothing
GET /2fa/reauthenticate/                                          login    yes      yes      yes      yes      yes
POST /2fa/reauthenticate/                                         login    nothing  nothing  nothing  nothing  nothing
GET /2fa/totp/activate/                                           login    yes      yes      yes      yes      yes
POST /2fa/totp/activate/                                          login    nothing  nothing  nothing  nothing  nothing
GET /2fa/totp/deactivate/                                         login    hidden   hidden   hidden   hidden   hidden
POST /2fa/totp/deactivate/                                        login    hidden   hidden   hidden   hidden   hidden
GET /2fa/recovery-codes/                                          login    hidden   hidden   hidden   hidden   hidden
GET /2fa/recovery-codes/generate/                                 login    yes      yes      yes      yes      yes
POST /2fa/recovery-codes/generate/                                login    nothing  nothing  nothing  nothing  nothing
GET /2fa/recovery-codes/download/                                 login    hidden   hidden   hidden   hidden   hidden
POST /2fa/recovery-codes/download/                                login    hidden   hidden   hidden   hidden   hidden
GET /health/                                                      yes      yes      yes      yes      yes      yes
GET /health/pipeline/                                             yes      yes      yes      yes      yes      yes
GET /metrics                                                      login    no       no       no       yes      yes
# Endpoints of the API.
#                                                                 visitor  partici. staff    reviewer organis. admin.
GET /api/openapi.json                                             yes      yes      yes      yes      yes      yes
GET /api/docs                                                     yes      yes      yes      yes      yes      yes
POST /api/uploads                                                 login    yes      no       no       no       yes
GET /api/uploads/<upload_id>                                      login    hidden   no       no       no       hidden
DELETE /api/uploads/<upload_id>                                   login    hidden   hidden   hidden   hidden   hidden
PUT /api/uploads/<upload_id>/shards/<name>                        login    hidden   no       no       no       hidden
POST /api/submissions                                             login    yes      no       no       no       yes
GET /api/submissions                                              login    yes      yes      yes      yes      yes
GET /api/submissions/<submission_id>                              hidden   hidden   hidden   yes      yes      yes
POST /api/submissions/<submission_id>/cancel                      login    hidden   hidden   no       yes      yes
POST /api/submissions/<submission_id>/retry                       login    hidden   hidden   no       yes      yes
GET /api/submissions/<submission_id>/results                      hidden   hidden   hidden   yes      yes      yes
GET /api/leaderboard                                              yes      yes      yes      yes      yes      yes
GET /api/                                                         hidden   hidden   hidden   hidden   hidden   hidden
# Pages of the admin.
#                                                                 visitor  partici. staff    reviewer organis. admin.
admin index                                                       login    login    yes      yes      yes      yes
admin login                                                       login    no       yes      yes      yes      yes
admin logout                                                      yes      yes      yes      yes      yes      yes
admin password_change                                             login    login    yes      yes      yes      yes
admin password_change_done                                        login    login    yes      yes      yes      yes
admin autocomplete                                                login    login    no       no       yes      yes
admin jsi18n                                                      login    login    yes      yes      yes      yes
admin view_on_site                                                login    login    hidden   hidden   hidden   hidden
admin app_list                                                    login    login    hidden   yes      yes      yes
admin anything else                                               login    login    hidden   hidden   hidden   hidden
admin accounts.apitoken changelist                                login    login    no       no       yes      yes
admin accounts.apitoken history                                   login    login    no       no       yes      yes
admin accounts.apitoken add                                       login    login    no       no       no       no
admin accounts.apitoken change                                    login    login    no       no       read     read
admin accounts.apitoken delete                                    login    login    no       no       no       no
admin accounts.invitation changelist                              login    login    no       no       yes      yes
admin accounts.invitation history                                 login    login    no       no       yes      yes
admin accounts.invitation add                                     login    login    no       no       yes      yes
admin accounts.invitation change                                  login    login    no       no       read     read
admin accounts.invitation delete                                  login    login    no       no       yes      yes
admin auth.group changelist                                       login    login    no       no       no       yes
admin auth.group history                                          login    login    no       no       no       yes
admin auth.group add                                              login    login    no       no       no       yes
admin auth.group change                                           login    login    no       no       no       yes
admin auth.group delete                                           login    login    no       no       no       yes
admin auth.user changelist                                        login    login    no       no       yes      yes
admin auth.user history                                           login    login    no       no       yes      yes
admin auth.user add                                               login    login    no       no       no       yes
admin auth.user change                                            login    login    no       no       read     yes
admin auth.user delete                                            login    login    no       no       no       no
admin auth.user password_change                                   login    login    no       no       no       yes
admin budgets.allowance changelist                                login    login    no       no       yes      yes
admin budgets.allowance history                                   login    login    no       no       yes      yes
admin budgets.allowance add                                       login    login    no       no       yes      yes
admin budgets.allowance change                                    login    login    no       no       yes      yes
admin budgets.allowance delete                                    login    login    no       no       no       no
admin budgets.entry changelist                                    login    login    no       no       yes      yes
admin budgets.entry history                                       login    login    no       no       yes      yes
admin budgets.entry add                                           login    login    no       no       no       no
admin budgets.entry change                                        login    login    no       no       read     read
admin budgets.entry delete                                        login    login    no       no       no       no
admin budgets.team changelist                                     login    login    no       no       yes      yes
admin budgets.team history                                        login    login    no       no       yes      yes
admin budgets.team add                                            login    login    no       no       yes      yes
admin budgets.team change                                         login    login    no       no       yes      yes
admin budgets.team delete                                         login    login    no       no       yes      yes
admin entries.event changelist                                    login    login    no       yes      yes      yes
admin entries.event history                                       login    login    no       yes      yes      yes
admin entries.event add                                           login    login    no       no       no       no
admin entries.event change                                        login    login    no       read     read     read
admin entries.event delete                                        login    login    no       no       no       no
admin entries.shard changelist                                    login    login    no       yes      yes      yes
admin entries.shard history                                       login    login    no       yes      yes      yes
admin entries.shard add                                           login    login    no       no       no       no
admin entries.shard change                                        login    login    no       read     read     read
admin entries.shard delete                                        login    login    no       no       no       no
admin entries.submission changelist                               login    login    no       yes      yes      yes
admin entries.submission history                                  login    login    no       yes      yes      yes
admin entries.submission add                                      login    login    no       no       no       no
admin entries.submission change                                   login    login    no       read     read     read
admin entries.submission delete                                   login    login    no       no       no       no
admin entries.upload changelist                                   login    login    no       yes      yes      yes
admin entries.upload history                                      login    login    no       yes      yes      yes
admin entries.upload add                                          login    login    no       no       no       no
admin entries.upload change                                       login    login    no       read     read     read
admin entries.upload delete                                       login    login    no       no       no       no
admin jobs.attempt changelist                                     login    login    no       yes      yes      yes
admin jobs.attempt history                                        login    login    no       yes      yes      yes
admin jobs.attempt add                                            login    login    no       no       no       no
admin jobs.attempt change                                         login    login    no       read     read     read
admin jobs.attempt delete                                         login    login    no       no       no       no
admin jobs.lane changelist                                        login    login    no       no       yes      yes
admin jobs.lane history                                           login    login    no       no       yes      yes
admin jobs.lane add                                               login    login    no       no       yes      yes
admin jobs.lane change                                            login    login    no       no       yes      yes
admin jobs.lane delete                                            login    login    no       no       yes      yes
admin leaderboard.baseline changelist                             login    login    no       yes      yes      yes
admin leaderboard.baseline history                                login    login    no       yes      yes      yes
admin leaderboard.baseline add                                    login    login    no       no       no       no
admin leaderboard.baseline change                                 login    login    no       read     read     read
admin leaderboard.baseline delete                                 login    login    no       no       no       no
admin leaderboard.score changelist                                login    login    no       yes      yes      yes
admin leaderboard.score history                                   login    login    no       yes      yes      yes
admin leaderboard.score add                                       login    login    no       no       no       no
admin leaderboard.score change                                    login    login    no       read     read     read
admin leaderboard.score delete                                    login    login    no       no       no       no
admin notifications.notice changelist                             login    login    no       no       yes      yes
admin notifications.notice history                                login    login    no       no       yes      yes
admin notifications.notice add                                    login    login    no       no       no       no
admin notifications.notice change                                 login    login    no       no       read     read
admin notifications.notice delete                                 login    login    no       no       no       no
admin notifications.webhook changelist                            login    login    no       no       yes      yes
admin notifications.webhook history                               login    login    no       no       yes      yes
admin notifications.webhook add                                   login    login    no       no       no       no
admin notifications.webhook change                                login    login    no       no       read     read
admin notifications.webhook delete                                login    login    no       no       no       no
admin review.appeal changelist                                    login    login    no       yes      yes      yes
admin review.appeal history                                       login    login    no       yes      yes      yes
admin review.appeal add                                           login    login    no       no       no       no
admin review.appeal change                                        login    login    no       read     read     read
admin review.appeal delete                                        login    login    no       no       no       no
admin review.holdrule changelist                                  login    login    no       yes      yes      yes
admin review.holdrule history                                     login    login    no       yes      yes      yes
admin review.holdrule add                                         login    login    no       no       yes      yes
admin review.holdrule change                                      login    login    no       read     yes      yes
admin review.holdrule delete                                      login    login    no       no       yes      yes
admin review.item changelist                                      login    login    no       yes      no       yes
admin review.item history                                         login    login    no       yes      no       yes
admin review.item add                                             login    login    no       no       no       no
admin review.item change                                          login    login    no       yes      no       yes
admin review.item delete                                          login    login    no       no       no       no
admin review.scan changelist                                      login    login    no       yes      yes      yes
admin review.scan history                                         login    login    no       yes      yes      yes
admin review.scan add                                             login    login    no       no       no       no
admin review.scan change                                          login    login    no       read     read     read
admin review.scan delete                                          login    login    no       no       no       no
admin review.verdict changelist                                   login    login    no       yes      yes      yes
admin review.verdict history                                      login    login    no       yes      yes      yes
admin review.verdict add                                          login    login    no       no       no       no
admin review.verdict change                                       login    login    no       read     read     read
admin review.verdict delete                                       login    login    no       no       no       no
admin roles.act changelist                                        login    login    no       yes      yes      yes
admin roles.act history                                           login    login    no       yes      yes      yes
admin roles.act add                                               login    login    no       no       no       no
admin roles.act change                                            login    login    no       read     read     read
admin roles.act delete                                            login    login    no       no       no       no
# Actions of the admin.
#                                                                 visitor  partici. staff    reviewer organis. admin.
action accounts.apitoken delete_selected                          login    login    no       no       no       no
action accounts.apitoken revoke                                   login    login    no       no       yes      yes
action accounts.invitation delete_selected                        login    login    no       no       yes      yes
action auth.group delete_selected                                 login    login    no       no       no       yes
action auth.user delete_selected                                  login    login    no       no       no       no
action auth.user password_links                                   login    login    no       no       yes      yes
action auth.user confirmation_links                               login    login    no       no       yes      yes
action budgets.allowance delete_selected                          login    login    no       no       no       no
action budgets.entry delete_selected                              login    login    no       no       no       no
action budgets.team delete_selected                               login    login    no       no       yes      yes
action entries.event delete_selected                              login    login    no       no       no       no
action entries.shard delete_selected                              login    login    no       no       no       no
action entries.submission delete_selected                         login    login    no       no       no       no
action entries.submission hold                                    login    login    no       no       yes      yes
action entries.submission release                                 login    login    no       no       yes      yes
action entries.submission raise_priority                          login    login    no       no       yes      yes
action entries.submission lower_priority                          login    login    no       no       yes      yes
action entries.submission retry                                   login    login    no       no       yes      yes
action entries.submission cancel                                  login    login    no       no       yes      yes
action entries.upload delete_selected                             login    login    no       no       no       no
action jobs.attempt delete_selected                               login    login    no       no       no       no
action jobs.lane delete_selected                                  login    login    no       no       yes      yes
action leaderboard.baseline delete_selected                       login    login    no       no       no       no
action leaderboard.score delete_selected                          login    login    no       no       no       no
action notifications.notice delete_selected                       login    login    no       no       no       no
action notifications.webhook delete_selected                      login    login    no       no       no       no
action review.appeal delete_selected                              login    login    no       no       no       no
action review.holdrule delete_selected                            login    login    no       no       yes      yes
action review.item delete_selected                                login    login    no       no       no       no
action review.scan delete_selected                                login    login    no       no       no       no
action review.verdict delete_selected                             login    login    no       no       no       no
action roles.act delete_selected                                  login    login    no       no       no       no
"""  # noqa: E501
