/* enrol.h - the command `tarn-vss enrol CODE`: redeems a one-time code for this host's credential
 * (doc/design/0070-host-requests.md), and `tarn-vss status`.  Exit statuses; sentences on stderr.
 */
#ifndef TARN_WINDOWS_COM_ENROL_H
#define TARN_WINDOWS_COM_ENROL_H

int enrol_redeem(const char *code);
int enrol_status(void);

#endif
