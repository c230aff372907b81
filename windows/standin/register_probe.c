/* register_probe - the provider's registration with VSS, against an IVssAdmin that answers what VSS
 * documents. Prints TAP. */
#include <string.h>

#include "tests/lib/tap.h"
#include "windows/provider/com/ids.h"
#include "windows/provider/com/register.h"

#include <vsserror.h>

/* What it was asked, and what it answers. */
static struct {
    HRESULT first_register, register_again, unregister;
    unsigned registers, unregisters;
    VSS_ID provider, version_id;
    CLSID clsid;
    VSS_PROVIDER_TYPE type;
    wchar_t name[64], version[64];
} vss;

static HRESULT STDMETHODCALLTYPE take(IVssAdmin *this, VSS_ID provider, CLSID clsid, VSS_PWSZ name,
                                      VSS_PROVIDER_TYPE type, VSS_PWSZ version, VSS_ID version_id)
{
    (void)this;
    vss.provider = provider;
    vss.version_id = version_id;
    vss.clsid = clsid;
    vss.type = type;
    wcsncpy(vss.name, name, 63);
    wcsncpy(vss.version, version, 63);
    return vss.registers++ == 0 ? vss.first_register : vss.register_again;
}

static HRESULT STDMETHODCALLTYPE give_up(IVssAdmin *this, VSS_ID provider)
{
    (void)this;
    vss.provider = provider;
    vss.unregisters++;
    return vss.unregister;
}

static IVssAdminVtbl methods = {.RegisterProvider = take, .UnregisterProvider = give_up};
static IVssAdmin admin = {&methods};

static HRESULT add(HRESULT first, HRESULT unregister, HRESULT again)
{
    memset(&vss, 0, sizeof vss);
    vss.first_register = first;
    vss.unregister = unregister;
    vss.register_again = again;
    return registration_add(&admin, "1.2.3");
}

static void a_new_provider_is_registered_as_hardware_with_its_ids(void)
{
    const GUID provider = TARN_PROVIDER_ID;
    const CLSID clsid = TARN_CLSID;
    expect_eq(add(S_OK, S_OK, S_OK), S_OK);
    expect_eq(vss.registers, 1);
    expect_eq(vss.unregisters, 0);
    expect(IsEqualGUID(&vss.provider, &provider));
    expect(IsEqualGUID(&vss.clsid, &clsid));
    expect_eq(vss.type, VSS_PROV_HARDWARE);
    expect(wcscmp(vss.name, TARN_PROVIDER_NAME) == 0);
    expect(wcscmp(vss.version, L"1.2.3") == 0);
}

static void each_version_has_an_id_of_its_own_and_keeps_it(void)
{
    GUID one, again, two;
    const GUID provider = TARN_PROVIDER_ID;
    require(registration_version_id("1.2.3", &one) && registration_version_id("1.2.3", &again) &&
            registration_version_id("1.2.4", &two));
    expect(IsEqualGUID(&one, &again));
    expect(!IsEqualGUID(&one, &two));
    expect(!IsEqualGUID(&one, &provider));
    add(S_OK, S_OK, S_OK);
    expect(IsEqualGUID(&vss.version_id, &one));
}

static void one_that_is_registered_already_is_made_new(void)
{
    expect_eq(add(VSS_E_PROVIDER_ALREADY_REGISTERED, S_OK, S_OK), S_OK);
    expect_eq(vss.registers, 2);
    expect_eq(vss.unregisters, 1);
    /* Another process was faster. */
    expect_eq(add(VSS_E_PROVIDER_ALREADY_REGISTERED, VSS_E_PROVIDER_NOT_REGISTERED, S_OK), S_OK);
    expect_eq(vss.registers, 2);
}

static void one_in_use_stays_as_it_is(void)
{
    HRESULT result = add(VSS_E_PROVIDER_ALREADY_REGISTERED, VSS_E_PROVIDER_IN_USE, S_OK);
    expect_eq(result, VSS_E_PROVIDER_IN_USE);
    expect_eq(vss.registers, 1);
    expect(strstr(registration_advice(result), "try again when it is done"));
}

static void refusals_are_told_in_plain_words(void)
{
    expect_eq(add(E_INVALIDARG, S_OK, S_OK), E_INVALIDARG);
    expect_eq(vss.unregisters, 0);
    expect(strstr(registration_advice(E_INVALIDARG), "Windows Server"));
    expect_eq(add(E_ACCESSDENIED, S_OK, S_OK), E_ACCESSDENIED);
    expect(strstr(registration_advice(E_ACCESSDENIED), "administrator"));
    expect(strstr(registration_advice(REGDB_E_CLASSNOTREG), "no Volume Shadow Copy service"));
}

static void unregistering_what_is_not_registered_is_fine(void)
{
    memset(&vss, 0, sizeof vss);
    vss.unregister = VSS_E_PROVIDER_NOT_REGISTERED;
    expect_eq(registration_remove(&admin), S_OK);
    vss.unregister = VSS_E_PROVIDER_IN_USE;
    expect_eq(registration_remove(&admin), VSS_E_PROVIDER_IN_USE);
    expect_eq(vss.unregisters, 2);
}

int main(void)
{
    run(a_new_provider_is_registered_as_hardware_with_its_ids);
    run(each_version_has_an_id_of_its_own_and_keeps_it);
    run(one_that_is_registered_already_is_made_new);
    run(one_in_use_stays_as_it_is);
    run(refusals_are_told_in_plain_words);
    run(unregistering_what_is_not_registered_is_fine);
    return tap_done();
}
