/*
 * service.h - the process that COM starts: the Windows service TarnVss, and its registration.
 *
 * The service registers its class object first, then reports that it runs, and only then may the
 * network be used: COM waits a limited time for the class.  It stays until it is stopped.  Launch
 * and access are for LocalSystem (VSS) and Administrators only.  Threads: the service control
 * manager's own.  Failures: an exit status, with a sentence on stderr.
 */
#ifndef TARN_WINDOWS_COM_SERVICE_H
#define TARN_WINDOWS_COM_SERVICE_H

/* Asked of the service: is a shadow copy set being made?  It sets the event TARN_BUSY_EVENT or resets
 * it, then answers. */
enum { SERVICE_CONTROL_IDLE = 128 };

int service_run(void);
/* Makes the service and the class that it serves, and registers the provider with VSS; done already is fine. */
int service_register(void);
/* Undoes it; what is not there is fine. */
int service_unregister(void);

#endif
